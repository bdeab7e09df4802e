"""Training time as a slider: its closed forms against the package's, its page in a real browser."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aelib import data, figures, measures, random

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
DIGITS = data.load("digits")
LINEAR = measures.principal_directions(DIGITS.train)
WORDS = {"name": "play-time", "alt": "Four digits in a row."}
ROOM = 3e-3  # grey levels: the directions come in float16


def make(*, images=DIGITS, linear=LINEAR, **options):
    still = figures.grid([DIGITS.test[:4]])
    return figures.training_time(*linear, images, **{"still": still, **WORDS, **options})


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("time") / "page.html"
    head = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Time</title>"
    head += "<meta name='viewport' content='width=device-width'>"
    page = f"{head}</head><body><main><h1>Time</h1>{make(caption='Below.').html}</main></body>"
    path.write_text(f"{page}</html>", encoding="utf-8")
    return path


@pytest.fixture
def tab(chromium, file, request):
    """A tab with the page in it, and what it complained of or asked of a host."""
    options = {"viewport": {"width": 900, "height": 900}, **getattr(request, "param", {})}
    context = chromium.new_context(**options)
    tab = context.new_page()
    tab.complaints = []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda asked: tab.complaints.append(asked.url)
           if not asked.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
    tab.goto(file.as_uri())
    yield tab
    context.close()


def tools(tab, body, *values):
    return tab.evaluate(
        f"values => {{ const tools = document.getElementById('play-time').tools; {body} }}", values
    )


def settle(tab):
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")


@pytest.mark.parametrize("t", [0.1, 3.0, 400.0])
def test_its_filters_and_gains_are_those_of_the_book(tab, t):
    mean, directions, variances = LINEAR
    images = data.gaussian(0.4)(DIGITS.test[:3], random.generator(0))
    spectrum = variances.double()
    for name, argument, shares in (
        ("net", t, 1 - torch.exp(-spectrum * t)),
        ("wiener", 0.4, spectrum / (spectrum + 0.16)),
    ):
        body = f"""const shares = tools.{name}(values[0]);
        return [shares, tools.gain(shares, 0.4),
                values[1].map(image => Array.from(tools.filtered(image, shares)))]"""
        flat = images.flatten(1).tolist()
        got, decibels, pictures = tools(tab, body, argument, flat)
        assert torch.tensor(got).double() == pytest.approx(shares, abs=1e-5)
        assert decibels == pytest.approx(measures.filter_gain(variances, shares, 0.4), abs=1e-4)
        expected = measures.linear_filter(images, mean, directions, shares).flatten(1)
        assert (torch.tensor(pictures) - expected).abs().max() < ROOM
    assert decibels == pytest.approx(measures.wiener_gain(variances, 0.4), abs=1e-4)


def test_the_time_moves_the_picture_and_the_words(tab):
    label = tab.locator(".shot").nth(1)
    assert re.match(r"net at t = 3.2: [\d.]+ dB", label.inner_text())
    assert tab.inner_text('[data-part="finding"]').startswith("In time: as good as this net gets")
    slider = tab.get_by_label("training time t")
    slider.focus()
    for _ in range(4):
        tab.keyboard.press("PageUp")
    slider.fill("66")
    settle(tab)
    assert label.inner_text().startswith("net at t = 2000")
    assert tab.inner_text('[data-part="finding"]').startswith("Late")
    slider.fill("-20")
    settle(tab)
    assert tab.inner_text('[data-part="finding"]').startswith("Early")
    tab.wait_for_function("document.querySelector('[data-part=spoken]').textContent[0] === 'E'")
    assert not tab.complaints


@pytest.mark.parametrize("sigma", [0.4, 1])
def test_it_is_late_only_where_the_gain_has_fallen_behind_its_best(tab, sigma):
    """At every time and on two digits: the words against the decibels beneath the picture."""
    script = """async sigma => { const root = document.querySelector("figure"), seen = [];
      const part = name => root.querySelector(`[data-part="${name}"]`);
      const set = (name, value) => { part(name).value = value;
        part(name).dispatchEvent(new Event("input")) };
      set("sigma", sigma);
      for (let notch = -20; notch <= 66; notch++) { set("time", notch);
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        seen.push([root.querySelectorAll(".shot span")[1].textContent,
                   part("finding").textContent]) }
      return seen }"""
    for digit in ("A 0", "A 7"):
        tab.get_by_role("button", name=digit).click()
        seen = tab.evaluate(script, sigma)
        minus = "\N{MINUS SIGN}"
        decibels = [label.split()[-2].replace(minus, "-") for label, _ in seen]
        gains = [float(one) for one in decibels]
        best = gains.index(max(gains))
        for notch, (gain, (_, said)) in enumerate(zip(gains, seen, strict=True)):
            if gain < max(gains) - 0.3:  # the text has one decimal
                assert said.startswith("Early" if notch < best else "Late"), (gain, said)
                assert f"its best on this digit is {max(gains):.1f} dB" in said
            elif gain > max(gains) - 0.1:
                assert said.startswith("In time"), (gain, said)


def test_the_first_stroke_replaces_the_example(tab):
    ink = """() => { const pad = document.querySelector('[data-part="pad"]');
      return pad.getContext("2d").getImageData(0, 0, pad.width, pad.height).data
        .filter((value, i) => i % 4 === 0 && value > 0).length }"""
    example = tab.evaluate(ink)
    box = tab.locator('[data-part="pad"]').bounding_box()
    tab.mouse.click(box["x"] + 30, box["y"] + 30)
    one = tab.evaluate(ink)
    assert 0 < one < example
    tab.mouse.click(box["x"] + 100, box["y"] + 100)
    assert tab.evaluate(ink) > one  # the second is drawn beside the first


def test_a_digit_is_taken_or_drawn_and_an_empty_pad_is_said(tab):
    picture = "document.querySelectorAll('.shot canvas')[3].toDataURL()"
    before = tab.evaluate(picture)
    tab.get_by_role("button", name="A 7").focus()
    tab.keyboard.press("Enter")
    settle(tab)
    assert tab.evaluate(picture) != before
    tab.get_by_role("button", name="Clear").click()
    settle(tab)
    assert tab.inner_text('[data-part="finding"]').startswith("The pad is empty")
    assert tab.locator(".shot canvas").first.is_hidden()
    assert tab.locator(".shot").nth(1).inner_text() == "net at t"  # no decibels under no picture
    tab.locator('[data-part="pad"]').focus()
    for key in ("Space", "ArrowUp", "Space", "ArrowUp", "Space"):
        tab.keyboard.press(key)
    settle(tab)
    assert tab.locator(".shot canvas").first.is_visible()
    before = tab.evaluate(picture)
    tab.get_by_role("button", name="New noise").click()
    settle(tab)
    assert tab.evaluate(picture) != before
    assert not tab.complaints


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("tab", [PHONE], indirect=True)
def test_a_finger_draws_on_a_phone(tab):
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    tab.get_by_role("button", name="Clear").tap()
    box = tab.locator('[data-part="pad"]').bounding_box()
    tab.touchscreen.tap(box["x"] + 70, box["y"] + 60)
    settle(tab)
    assert tab.locator(".shot canvas").first.is_visible()
    assert not tab.complaints


@pytest.mark.parametrize(
    "tab", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True
)
def test_axe_finds_nothing(tab):
    tab.evaluate(AXE)
    violations = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(v["id"], [node["html"][:99] for node in v["nodes"]]) for v in violations] == []


@pytest.mark.parametrize("tab", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_there_is_a_picture(tab):
    assert tab.is_visible('[data-part="still"] img')
    assert tab.get_attribute('[data-part="still"] img', "alt") == WORDS["alt"]
    assert tab.is_hidden('[data-part="controls"]')


def test_classes_are_offered_in_order_and_without_labels_by_number(tab):
    names = tab.evaluate("[...document.querySelectorAll('.presets button')].map(b => b.ariaLabel)")
    assert names == [f"A {digit}" for digit in range(10)]
    assert "number 3" in make(images=replace(DIGITS, test_labels=None)).html


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"linear": measures.principal_directions(DIGITS.train, 8)}, "directions: .*64"),
        ({"images": replace(DIGITS, train=DIGITS.train.expand(-1, 3, 8, 8))}, "images: .*grey"),
        (
            {
                "linear": (torch.zeros(784), torch.zeros(784, 784), torch.zeros(784)),
                "images": replace(DIGITS, train=torch.zeros(4, 1, 28, 28)),
            },
            "images: .*900 kB.*crop",
        ),
        ({"name": "time"}, "name: .*'play-'"),
        ({"alt": "digits.png"}, "alt: .*a sentence"),
    ],
)
def test_what_cannot_work_is_refused(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make(**change)


def test_the_html_asks_for_nothing():
    page = make(caption="a</script>b").html
    assert page.count("</script>") == 2  # its data and its script, and none in a text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|src=\"(?!data:)", page)
    assert math.isclose(len(page), 70_000, rel_tol=0.5)
