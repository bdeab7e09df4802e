"""The copying machine: its arithmetic against torch, and its page in a real browser from file://."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aelib import data, figures, measures, models, random
from press.sphinx_ext.explorers import small

ROOT = Path(__file__).resolve().parents[1]
AXE = (ROOT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")
SCRIPTS = ROOT / "aelib" / "figures" / "explorers"
DIGITS = data.load("digits")
WORDS = {"name": "play-machine", "alt": "Four digits, six others, and what is made of them."}
SLOW = 120_000  # ms; how long a busy machine may take, and no test of its speed


def make(images=DIGITS, **options):
    still = figures.grid([DIGITS.train[:4]])
    return figures.machine(images, **{"still": still, **WORDS, **options})


# ---------------------------------------------------------------- what it is made of


def test_the_html_is_one_piece_that_asks_for_nothing():
    page = make(caption="a</script>b").html
    assert page.count("</script>") == 2  # its data and its script, and none in a text
    assert "${" not in page.split("<script>")[0]  # every place of the template is filled
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|src=\"(?!data:)", page)
    assert page.index('data-part="controls" hidden') < page.index("<script>")
    assert page == make(caption="a</script>b").html


@pytest.mark.parametrize("name", ["trainer", "session", "machine"])
def test_each_script_is_one_by_itself(name):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH; the browser's tests run the scripts, too")
    done = subprocess.run([node, "--check", SCRIPTS / f"{name}.js"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": DIGITS.train}, r"images: .*data\.load"),
        ({"images": replace(DIGITS, train=DIGITS.train[:3])}, "images.train: .*4 or more, got 3"),
        ({"images": replace(DIGITS, test=DIGITS.test[:3])}, "images.test: .*24 or more"),
        ({"images": replace(DIGITS, train=DIGITS.train * 16)}, r"images.train: .*\[0, 1\]"),
        (
            {"images": replace(DIGITS, train=DIGITS.train.expand(-1, 3, 8, 8))},
            "images: .*grey .*load them smaller",
        ),
        (
            {"images": replace(DIGITS, train=DIGITS.train.repeat(8, 1, 1, 1))},
            "images: .*900 kB.*take fewer",
        ),
        ({"still": "a.png"}, "still: .*Figure"),
        ({"name": "machine"}, "name: .*'play-'"),
        ({"alt": "digits.png"}, "alt: .*a sentence"),
    ],
)
def test_what_cannot_work_is_refused(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make(**change)


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("machine") / "page.html"
    head = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Machine</title>"
    head += "<meta name='viewport' content='width=device-width'>"
    path.write_text(
        f"{head}</head><body><main><h1>Machine</h1>{make(caption='Below.').html}</main></body>"
        "</html>",
        encoding="utf-8",
    )
    return path


def opened(chromium, file, first="", **options):
    """A tab with the page in it, and what it complained of."""
    context = chromium.new_context(**{"viewport": {"width": 1000, "height": 900}, **options})
    context.set_default_timeout(SLOW)
    tab = context.new_page()
    tab.complaints = []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    # fmt: off
    tab.on("request", lambda asked: tab.complaints.append(asked.url)
           if not asked.url.startswith(("file:", "data:", "blob:")) else None)
    # fmt: on
    if first:
        tab.add_init_script(first)
    tab.goto(file.as_uri())
    return tab


@pytest.fixture(scope="module")
def tab(chromium, file):
    """The page after it has taken its first steps."""
    tab = opened(chromium, file)
    tab.wait_for_selector('[data-part="views"]:not([hidden])')
    yield tab
    tab.context.close()


def words(tab, part):
    return tab.text_content(f'[data-part="{part}"]')


def settings(model):
    return {
        "pixels": 64,
        "depth": sum(isinstance(one, torch.nn.Linear) for one in model.modules()) - 1,
        "width": model.encoder[0].out_features,
        "skip": model.skip,
    }


def parameters(model) -> torch.Tensor:
    """In the page's order: each weight matrix by its inputs, then its bias."""
    layers = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    rows = [row for one in layers for row in (one.weight.detach().T, one.bias.detach())]
    return torch.cat([row.reshape(-1) for row in rows])


def asked(tab, model, body, *arrays):
    """What `body` gives on the page, where `net` is the model and `tools` the arithmetic."""
    script = f"""([settings, parameters, arrays]) => {{
      const tools = document.getElementById("play-machine").tools;
      const net = new tools.Net(settings);
      net.parameters.set(parameters);
      const [a, b] = arrays.map(one => Float32Array.from(one));
      {body} }}"""
    rows = [array.flatten().tolist() for array in arrays]
    return tab.evaluate(script, [settings(model), parameters(model).tolist(), rows])


def model_of(skip=0.0, depth=3, width=24):
    with random.seeded(3):
        return models.MLPAutoencoder(DIGITS.shape, width=width, depth=depth, skip=skip)


def test_its_gradient_is_that_of_autograd(tab):
    for model, n in ((model_of(), 7), (model_of(0.5, depth=1, width=30), 4)):
        images = DIGITS.train[:n]
        noisy = images + 0.2 * torch.randn(images.shape, generator=random.generator(1))
        loss = (model(noisy) - images).pow(2).mean()
        loss.backward()
        for parameter in model.parameters():
            parameter.data, parameter.grad = parameter.grad, parameter.data
        expected = parameters(model)
        for parameter in model.parameters():
            parameter.data, parameter.grad = parameter.grad, parameter.data
        body = f"""const loss = net.backward(a, b, {n});
        return [loss, Array.from(net.gradient)]"""
        got, gradient = asked(tab, model, body, noisy, images)
        assert got == pytest.approx(loss.item(), rel=1e-5)
        assert (torch.tensor(gradient) - expected).norm() < 1e-4 * expected.norm()


def test_its_steps_are_those_of_adam(tab):
    model, images = model_of(), DIGITS.train[:5]
    body = """for (let i = 0; i < 3; i++) net.step(a, a, 5, 0.01);
    return Array.from(net.parameters)"""
    got = torch.tensor(asked(tab, model, body, images))
    start = parameters(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (model(images) - images).pow(2).mean().backward()
        optimizer.step()
    moved = parameters(model) - start
    assert moved.norm() > 0.1
    assert (got - start - moved).norm() < 1e-3 * moved.norm()  # a zero gradient's sign is rounding


def test_its_measures_are_those_of_the_book(tab):
    model, images = model_of(0.4), DIGITS.test[:10]
    noise = 0.1 * random.normal(images.shape, images, random.generator(5))
    body = """const { copy, transmission } = tools.response(net, a, b);
    return [copy, transmission, tools.gain(net, a, b), tools.missed(net, a)]"""
    got = asked(tab, model, body, images, noise)
    answer = measures.response(model, images, 0.1, seed=5)
    gain = measures.denoising_gain(model, images, lambda clean, _: clean + noise)
    missed = measures.unexplained_variance(model, images)
    expected = [answer.copy.mean(), answer.transmission.mean(), gain.mean(), missed]
    assert got == pytest.approx([float(one) for one in expected], rel=1e-4)


def test_what_falls_onto_what_is_what_memory_says(tab):
    with random.seeded(0):
        model = models.MLPAutoencoder(DIGITS.shape, width=64, depth=3)
    taught, starts = DIGITS.train[:3], torch.cat([DIGITS.test[:8], DIGITS.train[:1]])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        (model(taught) - taught).pow(2).mean().backward()
        optimizer.step()
    body = "return tools.fallenOnto(tools.iterate(net, a, 30), a, b, 64)"
    got = torch.tensor(asked(tab, model, body, starts, taught))
    memory = measures.memory(model, taught, starts, times=30)
    assert 0 < memory.recalled.sum() < len(starts)
    assert got.tolist() == memory.nearest.where(memory.recalled, -torch.ones(())).tolist()
    body = "return tools.fallenOnto(a, null, b, 64)"  # of taught images one asks whether they stay
    assert asked(tab, model, body, starts, taught)[-1] == 0


def test_the_page_begins_with_four_images_stored(tab):
    assert words(tab, "status").startswith("Step 400, error on the taught")
    assert words(tab, "finding").startswith("All 24 new digits land on one of the 4 images")
    assert tab.get_by_role("button", name="Four images").get_attribute("aria-pressed") == "true"
    label = tab.locator(".group").nth(1).get_attribute("aria-label")
    assert label.startswith("New digits (6 of 24): 6 images")
    assert "6 of them land" in label
    assert re.match(r"Taught: [34] stay", tab.inner_text(".group"))
    assert words(tab, "key").startswith("green frame: on this taught image")
    assert words(tab, "status").endswith("It stopped by itself; Train goes on")
    assert tab.is_hidden('[data-part="still"]')
    assert not tab.complaints


def test_a_digit_is_drawn_by_keyboard_and_by_mouse_and_an_empty_pad_is_none(tab):
    yours = tab.locator(".group").nth(3)
    assert yours.is_hidden()
    tab.locator('[data-part="pad"]').focus()
    for key in ("Space", "ArrowUp", "Space", "ArrowUp", "Space"):
        tab.keyboard.press(key)
    yours.wait_for(state="visible")
    assert tab.get_by_text("The pad is empty").is_hidden()
    tab.get_by_role("button", name="Clear").click()
    yours.wait_for(state="hidden")
    assert tab.get_by_text("The pad is empty").is_visible()
    box = tab.locator('[data-part="pad"]').bounding_box()
    tab.mouse.move(box["x"] + 40, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 60, box["y"] + 120, steps=4)
    tab.mouse.up()
    yours.wait_for(state="visible")
    assert not tab.complaints


def test_applied_once_it_has_not_landed_yet(tab):
    tab.get_by_label("Apply it again and again").fill("0")
    tab.wait_for_function(
        "document.querySelectorAll('.group')[1].innerText.includes('1 time')"
        " || document.querySelectorAll('.group')[0].innerText.includes('1 time')"
    )
    assert words(tab, "times") == "1 time"
    tab.get_by_label("Apply it again and again").fill("7")


def test_a_wild_rate_is_told_and_the_net_kept(tab):
    tab.locator("summary").first.click()
    tab.locator("[data-setting=rate]").select_option("1")
    tab.get_by_role("button", name="Train").click()
    tab.wait_for_selector('[data-part="trouble"]:not([hidden])')
    assert re.match(
        r"It diverged at step [\d,]+: .* as it was at step [\d,]+\. Lower", words(tab, "trouble")
    )
    tab.locator("[data-setting=rate]").select_option("0.001")
    assert tab.is_hidden('[data-part="trouble"]')
    before = int(re.match(r"Step (\d+)", words(tab, "status"))[1])
    tab.get_by_role("button", name="One step").click()
    tab.wait_for_function(
        f"document.querySelector('figure').innerText.includes('Step {before + 1}')"
    )
    assert "NaN" not in tab.inner_text("figure")
    assert not tab.complaints


def test_a_speed_beyond_the_machine_is_told(tab):
    for setting, value in (("width", "256"), ("depth", "7"), ("count", "64")):
        tab.locator(f"[data-setting={setting}]").select_option(value)
    tab.get_by_role("button", name="Pause").wait_for()  # a setting takes a new net and trains it
    tab.locator("[data-part=speed]").select_option("1000")
    tab.wait_for_function(
        "document.querySelector('figure').innerText.includes('you asked for 1,000')"
    )
    tab.get_by_role("button", name="Pause").click()
    tab.get_by_role("button", name="Train").wait_for()


def step(tab) -> int:
    return int(words(tab, "status").split(",")[0].removeprefix("Step "))


def checked(tab):
    """What the machine says once it speaks of the step that it shows."""
    tab.wait_for_function("!document.querySelector('.aelib-machine').matches('.old')")
    return words(tab, "finding")


def test_a_verdict_is_of_the_step_shown_or_says_of_which(tab):
    """While it trains: the step it is of, or "Checking…". A bold one is of a net that rests."""
    tab.get_by_role("button", name="64 images").click()
    tab.locator("[data-part=speed]").select_option("Infinity")
    script = """() => new Promise(done => {
      const seen = [], root = document.querySelector("figure");
      const read = part => root.querySelector(`[data-part="${part}"]`).textContent;
      const label = () => root.querySelectorAll(".group span")[2].textContent;
      const look = () => {
        seen.push([read("status"), read("finding"), root.matches(".old"), label(), read("train")]);
        seen.length < 300 ? requestAnimationFrame(look) : done(seen) };
      look() })"""
    seen = tab.evaluate(script)
    tab.get_by_role("button", name="Pause").click()
    seen += tab.evaluate(script)

    def number(text):
        found = re.search(r"tep ([\d,]+)", text)
        assert found
        return int(found[1].replace(",", ""))

    trained = [row for row in seen if row[4] == "Pause" and row[2]]
    assert len(trained) > 100
    for status, said, old, label, _ in seen:
        if not old:
            assert not re.match("At step|Checking", said)
            assert "step" not in label
        elif said != "Checking…":
            assert said.startswith("At step")
            assert number(said) == number(label) <= number(status)
    assert re.match(r"(None|All|\d+) (of )?24 new digits", checked(tab))
    assert not tab.complaints


def test_start_over_waits_and_what_runs_away_is_told(tab):
    tab.get_by_role("button", name="Large start").click()
    tab.get_by_role("button", name="Pause").wait_for()
    tab.get_by_role("button", name="Start over").click()
    tab.get_by_role("button", name="Train").wait_for()
    tab.wait_for_function("document.querySelector('figure').innerText.includes('Step 0')")
    assert checked(tab) == "Nothing learned yet."
    assert "cross: runs away, lands nowhere" in words(tab, "key")
    assert not tab.complaints


def test_an_experiment_stops_by_itself_and_says_so_and_then_goes_on(tab):
    tab.get_by_role("button", name="Four images").click()
    tab.get_by_text("stopped by itself").wait_for()
    assert words(tab, "status").startswith("Step 400,")
    assert checked(tab).startswith("All 24 new digits")
    tab.get_by_role("button", name="Train").click()
    tab.wait_for_function("!document.querySelector('figure').innerText.includes('Step 400,')")
    tab.get_by_role("button", name="Pause").click()
    assert "by itself" not in words(tab, "status")


def test_one_step_a_second_is_one(tab):
    tab.get_by_role("button", name="Start over").click()
    tab.locator("[data-part=speed]").select_option("1")
    tab.get_by_role("button", name="Train").click()
    tab.wait_for_function("/Step [3456]/.test(document.querySelector('figure').innerText)")
    before = step(tab)
    tab.wait_for_timeout(3000)
    assert step(tab) - before <= 4
    tab.get_by_text("1 step a second").last.wait_for()
    tab.get_by_role("button", name="Pause").click()
    tab.locator("[data-part=speed]").select_option("Infinity")


def test_every_start_on_offer_can_be_trained(tab):
    """At the lowest rate, every depth and width: else there is no way on after a divergence."""
    script = """() => { const tools = document.getElementById("play-machine").tools;
      const all = key => [...document.querySelectorAll(`[data-setting=${key}] option`)]
        .map(one => Number(one.value));
      const images = Float32Array.from({ length: 32 * 64 }, tools.uniform(1)), losses = [];
      for (const gain of all("gain")) for (const depth of all("depth"))
        for (const width of all("width")) {
          const net = new tools.Net({ pixels: 64, seed: 1, gain, depth, width });
          losses.push([net.step(images, images, 32, Math.min(...all("rate"))),
                       net.step(images, images, 32, Math.min(...all("rate")))]); }
      return losses }"""
    assert max(max(both) for both in tab.evaluate(script)) < 100


def test_it_is_seen_whole_on_a_screen(tab):
    assert tab.locator("figure").bounding_box()["width"] == 760
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false })")
    assert tab.locator("figure").bounding_box()["height"] < 800
    look = "getComputedStyle(document.querySelector('.charts svg')).backgroundColor"
    assert tab.evaluate(look) == "rgba(0, 0, 0, 0)"  # a bright box on a dark page it was


@pytest.mark.parametrize(
    "first",
    [
        "delete window.Worker",
        # A worker that is refused a moment later, as by a page's policy.
        "window.Worker = class { postMessage() {}"
        " constructor() { setTimeout(() => this.onerror(new Event('error')), 10) } }",
    ],
)
def test_without_workers_it_trains_in_the_page(chromium, file, first):
    tab = opened(chromium, file, first)
    tab.get_by_text("runs no workers").wait_for()
    tab.get_by_role("button", name="Start over").click()
    tab.get_by_role("button", name="One step").click()
    tab.wait_for_function("document.querySelector('figure').innerText.includes('Step 1,')")
    assert not tab.complaints
    tab.context.close()


def test_without_scripts_there_is_a_picture_and_no_dead_control(chromium, file):
    tab = opened(chromium, file, java_script_enabled=False)
    assert tab.is_visible('[data-part="still"] img')
    assert tab.get_attribute('[data-part="still"] img', "alt") == WORDS["alt"]
    assert tab.get_by_text("needs JavaScript").is_visible()
    assert tab.is_hidden('[data-part="controls"]')
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_it_fits_and_axe_finds_nothing(tab, scheme):
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    tab.evaluate(AXE)
    violations = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(v["id"], [node["html"][:99] for node in v["nodes"]]) for v in violations] == []


# ---------------------------------------------------------------- on a phone, and on the front page


def stroke(tab, points):
    """A finger drawn over the pad."""
    pad = tab.locator('[data-part="pad"]')
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    finger = tab.context.new_cdp_session(tab)
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
    for kind, (x, y) in zip(kinds, points, strict=True):
        touched = [{"x": box["x"] + x, "y": box["y"] + y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_draws_and_the_page_stays(chromium, file):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    tab = opened(chromium, file, **phone)
    tab.wait_for_selector('[data-part="views"]:not([hidden])')
    tab.locator('[data-part="pad"]').scroll_into_view_if_needed()
    before = tab.evaluate("scrollY")
    stroke(tab, [(40 + 3 * i, 20 + 10 * i) for i in range(10)])
    tab.locator(".group").nth(3).wait_for(state="visible")
    assert abs(tab.evaluate("scrollY") - before) < 100  # the finger drew, and did not scroll
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert not tab.complaints
    tab.context.close()


def test_the_front_pages_sister_has_two_experiments_and_no_more_to_set(chromium, tmp_path):
    path = tmp_path / "page.html"
    whole = make(name="play-machine", caption="What to see.").html
    sister = small(whole, "play-machine")
    assert "<figcaption" in whole
    assert "<figcaption" not in sister
    assert sister.count('id="play-machine-small"') == 1
    path.write_text(f"<!doctype html><meta charset='utf-8'><main>{sister}</main>", encoding="utf-8")
    tab = opened(chromium, path)
    tab.wait_for_selector('[data-part="views"]:not([hidden])')
    seen = "[...document.querySelectorAll('button')].filter(one => one.checkVisibility())"
    buttons = tab.evaluate(f"{seen}.map(one => one.textContent)")
    assert buttons == ["Four images", "All 1,437 images", "Train", "Start over", "Clear"]
    assert tab.is_hidden(".charts")
    assert tab.is_hidden("details")
    assert words(tab, "finding").startswith("All 24 new digits land on one of the 4 images")
    assert not tab.complaints
    tab.context.close()
