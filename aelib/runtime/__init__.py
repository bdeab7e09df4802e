"""Where and how the code runs: device, memory, the session, the machine's record, files."""

from aelib.runtime.device import device, is_cpu, threads
from aelib.runtime.files import cache_folder, check_writable, write_whole
from aelib.runtime.lesson import lesson
from aelib.runtime.machine import header, machine, versions
from aelib.runtime.memory import check_memory, free_memory, out_of_memory
from aelib.runtime.session import Profile, interactive, interruptible, profile, progress

__all__ = [
    "Profile",
    "cache_folder",
    "check_memory",
    "check_writable",
    "device",
    "free_memory",
    "header",
    "interactive",
    "interruptible",
    "is_cpu",
    "lesson",
    "machine",
    "out_of_memory",
    "profile",
    "progress",
    "threads",
    "versions",
    "write_whole",
]
