"""Attractors of a code of two numbers: found right, and on a page in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn.utils import vector_to_parameters

from aelib import data, figures, measures, random
from aelib.experiments import attractors

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
WORDS = {"name": "play-attractors", "alt": "A map of codes with arrows and dots."}


# ---------------------------------------------------------------- fixed points


def test_the_fixed_points_of_a_known_map_are_found_and_told_apart():
    def step(z):  # x is pushed to ±1 and away from 0, y is halved; a quarter turn about (0, 0)
        x, y = z[:, 0], z[:, 1]
        return torch.stack([x + 0.2 * (x - x**3), 0.5 * y], 1)

    places, stretch, index = attractors.fixed_points(step, torch.tensor([-2.0, -2.0]), 4.0, 8)
    order = places[:, 0].argsort()
    expected = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert places[order] == pytest.approx(expected, abs=1e-8)
    assert stretch[order] == pytest.approx(torch.tensor([0.6, 1.2, 0.6]).double(), abs=1e-6)
    assert index[order].tolist() == [1, -1, 1]


def test_a_map_that_turns_and_shrinks_has_one_attractor():
    turn = 0.9 * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    places, stretch, index = attractors.fixed_points(
        lambda z: z @ turn.T, torch.tensor([-1.0, -1.5]), 3.0, 5
    )
    assert places == pytest.approx(torch.zeros(1, 2).double(), abs=1e-9)
    assert (stretch.item(), index.item()) == (pytest.approx(0.9), 1)


def test_a_translation_has_no_fixed_point():
    places, _, index = attractors.fixed_points(lambda z: z + 0.5, torch.zeros(2), 1.0, 5)
    assert len(places) == len(index) == 0


def small_net(seed=0):
    digits = data.load("digits")
    mean, directions, _ = measures.principal_directions(digits.train, 6)
    with random.seeded(seed):
        return attractors.build(digits.shape, mean, directions, 8), digits


def test_a_step_in_the_code_is_the_whole_net_without_its_fixed_layers():
    net, digits = small_net()
    codes = measures.codes(net, digits.test[:7])
    around = net.encode(net.decode(codes)).double()
    assert attractors.step_of(net)(codes.double()) == pytest.approx(around.detach(), abs=1e-5)
    trained = [name for name, weight in net.named_parameters() if weight.requires_grad]
    assert not {"encoder.0.weight", "decoder.5.weight"} & set(trained)


def test_shuffling_keeps_each_layers_weights():
    net, _ = small_net()
    mixed = attractors.shuffled(net, 0)
    for before, after in zip(net.parameters(), mixed.parameters(), strict=True):
        assert before.flatten().sort().values.equal(after.flatten().sort().values)
        assert before.equal(after) or before.requires_grad
    assert not net.encoder[1].weight.equal(mixed.encoder[1].weight)


def test_where_no_attractor_was_found_no_cell_has_a_basin(monkeypatch):
    net, digits = small_net()
    none = torch.zeros(0, 2).double(), torch.zeros(0), torch.zeros(0)
    monkeypatch.setattr(attractors, "fixed_points", lambda *_: none)
    found = attractors.stage(net, digits.train, digits.train_labels, 3, 3)
    assert set(found["basins"].tolist()) == {255}


def test_the_kept_nets_attractors_are_told_from_taught_digits():
    """Chapter 5's map: of 23 attractors none is one of 4,000 digits; of nine, eight are."""
    found = attractors.shown()["stages"]
    last = {name: nets[-1] for name, nets in found.items()}
    counts = {name: (len(one.attractors), sum(one.taught)) for name, one in last.items()}
    assert counts == {"4,000 digits": (23, 0), "20 digits": (9, 8)}
    assert sum(found["20 digits"][0].taught) == 0  # before training


# ---------------------------------------------------------------- the page


def stages(seed=0):
    net, digits = small_net(seed)
    found = attractors.stage(net, digits.train, digits.train_labels, 6, 30)
    vector_to_parameters(found.pop("weights").float(), attractors.trained(net))
    return net, figures.Stage(60, net.decoder[:-1], net.encoder[1:], **found)


NET, STAGE = stages()
STAGE = STAGE._replace(taught=[True] * len(STAGE.attractors))
OTHER = stages(1)[1]._replace(steps=9)


def slow():
    """z → 0.9 z: a walk of some forty steps."""
    out, back = torch.nn.Linear(2, 6, bias=False), torch.nn.Linear(6, 2, bias=False)
    out.weight.data = torch.eye(6, 2)
    back.weight.data = 0.9 * torch.eye(2, 6)
    return STAGE._replace(
        steps=1,
        decoder=torch.nn.Sequential(out),
        encoder=torch.nn.Sequential(back),
        corner=torch.tensor([-1.0, -1.0]),
        side=2.0,
        attractors=torch.zeros(1, 2),
    )


def make(found=None, **options):
    mean, directions = NET.decoder[-1].bias.detach(), NET.encoder[0].weight.detach()
    found = (
        {"all digits": [OTHER, STAGE], "some": [OTHER], "one": [slow()]} if found is None else found
    )
    return figures.attractors(found, mean, directions, **{**WORDS, **options})


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("attractors") / "page.html"
    head = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Map</title>"
    head += "<meta name='viewport' content='width=device-width'>"
    page = f"{head}</head><body><main><h1>Map</h1>{make(caption='Below.').html}</main></body>"
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


def arrived(tab):
    tab.wait_for_function(
        "document.querySelector('[data-part=words]').textContent.includes('after')"
    )
    return tab.inner_text('[data-part="words"]')


def test_the_page_runs_the_nets_as_torch_does(tab):
    digits = data.load("digits").test[:5]
    codes = measures.codes(NET, digits).double()
    script = """([codes, images]) => {
      const root = document.getElementById("play-attractors");
      const net = root.nets["all digits"][1], { project, picture } = root.basis;
      return [codes.map(code => Array.from(net.step(code))),
              codes.map(code => Array.from(picture(net.decode(code)))),
              images.map(image => Array.from(net.encode(project(image))))] }"""
    step, pictures, encoded = tab.evaluate(script, [codes.tolist(), digits.flatten(1).tolist()])
    expected = attractors.step_of(NET)(codes)
    assert (torch.tensor(step).double() - expected).norm() < 1e-4 * expected.norm()
    drawn = NET.decode(codes.float()).flatten(1).detach()
    assert (torch.tensor(pictures) - drawn).abs().max() < 2e-3  # the directions come in float16
    assert (torch.tensor(encoded).double() - codes).abs().max() < 1e-2


def test_a_point_walks_to_an_attractor_by_mouse_and_by_keys(tab):
    assert tab.is_hidden('[data-part="still"]')
    said = r"It is on an attractor after \d+ times?.*draws a digit that it was taught"
    assert re.match(said, arrived(tab))
    assert tab.locator('[data-part="all"] canvas.landed').count() == 1
    map_ = tab.locator('[data-part="map"]')
    picture = "document.querySelector('.three canvas').toDataURL()"
    before = tab.evaluate(picture)
    box = map_.bounding_box()
    tab.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.2 * box["height"])
    clicked = tab.evaluate(picture)
    assert clicked != before
    arrived(tab)
    map_.focus()
    tab.keyboard.press("Shift+ArrowLeft")
    tab.wait_for_function(f"{picture} !== '{clicked}'")
    tab.wait_for_function("document.querySelector('[data-part=spoken]').textContent.length > 9")
    assert not tab.complaints


def test_time_and_teaching_turn_the_net(tab):
    assert tab.inner_text('[data-part="finding"]').startswith("Taught all digits, after 60 steps")
    tab.get_by_label("training steps").fill("0")
    assert tab.inner_text('[data-part="finding"]').startswith("Taught all digits, after 9 steps")
    tab.get_by_role("button", name="some").click()
    assert tab.inner_text('[data-part="finding"]').startswith("Taught some, after 9 steps")
    assert tab.get_by_role("button", name="some").get_attribute("aria-pressed") == "true"
    assert "none of them a digit that it was taught" in tab.inner_text('[data-part="finding"]')
    assert tab.locator('[data-taught="true"]').count() == 0
    assert not tab.complaints


def test_a_drawn_digit_lands_where_its_code_walks(tab):
    tab.locator('[data-part="pad"]').focus()
    before = tab.evaluate("document.querySelector('.three canvas').toDataURL()")
    for key in ("Space", "ArrowUp", "Space", "ArrowUp", "Space"):
        tab.keyboard.press(key)
    tab.wait_for_function(f"document.querySelector('.three canvas').toDataURL() !== '{before}'")
    arrived(tab)
    assert tab.inner_text(".three div") == "your digit, copied"
    assert tab.get_by_text("The pad is empty").is_hidden()
    tab.get_by_role("button", name="Clear").click()  # an empty pad drops no point
    tab.get_by_text("The pad is empty").wait_for()
    arrived(tab)
    assert not tab.complaints


def test_what_was_found_is_not_said_while_the_next_point_is_on_its_way(tab):
    tab.get_by_role("button", name="one", exact=True).click()
    words = "document.querySelector('[data-part=words]').textContent"
    assert tab.evaluate(words) == "On its way…"  # forty steps are drawn one a frame
    arrived(tab)
    tab.locator('[data-part="map"]').focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate(words) == "On its way…"


def test_the_map_is_seen_from_nearer_and_as_a_whole_again(tab):
    arrived(tab)
    map_ = tab.locator('[data-part="map"]')
    box = map_.bounding_box()
    code = "document.querySelector('.three canvas').toDataURL()"
    at = (box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    tab.mouse.click(*at)
    before = tab.evaluate(code)
    tab.get_by_role("button", name="Zoom in on the point").click()
    tab.mouse.click(*at)  # the middle is still the middle
    assert tab.evaluate(code) == before
    tab.get_by_role("button", name="Whole map").click()
    tab.get_by_role("button", name="Zoom in on the point").wait_for()
    assert not tab.complaints


def test_on_a_dark_page_the_map_is_dark(tab):
    arrived(tab)
    light = """() => { const map = document.querySelector('[data-part="map"]');
      const all = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
      return all.reduce((sum, value) => sum + value, 0) / all.length }"""
    bright = tab.evaluate(light)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    tab.wait_for_timeout(100)
    arrived(tab)
    assert tab.evaluate(light) < 0.7 * bright


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("tab", [{**PHONE, "reduced_motion": "reduce"}], indirect=True)
def test_a_finger_drops_a_point_and_nothing_moves_where_motion_is_reduced(tab):
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    tab.get_by_role("button", name="one", exact=True).tap()
    tab.get_by_text("Taught one, after 1 steps").wait_for()
    box = tab.locator('[data-part="map"]').bounding_box()
    assert box["width"] > 250
    tab.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    frames = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    tab.evaluate(frames)
    assert tab.inner_text(".three div:nth-child(2)") == "after 32 times"  # at once
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"found": {}}, "stages: .*one net"),
        ({"found": {"all": []}}, "stages: .*one net"),
        ({"found": {"all": [STAGE._replace(encoder=STAGE.decoder)]}}, "layer 0 to take 6"),
        ({"name": "map"}, "name: .*'play-'"),
        ({"alt": "map.png"}, "alt: .*a sentence"),
        ({"times": 0}, "times: "),
    ],
)
def test_what_cannot_work_is_refused(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make(**change)


def test_the_html_asks_for_nothing():
    page = make(caption="a</script>b").html
    assert page.count("</script>") == 2  # its data and its script, and none in a text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|src=\"(?!data:)", page)
