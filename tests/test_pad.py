"""The latent pad: in a real browser, from file://, against torch; and what it refuses."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aelib import figures, models
from aelib.figures.explorers.decoder import GAP, page_decode, translated

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
WORDS = {
    "name": "play-pad",
    "alt": "Points in the plane, and what the decoder draws on a lattice of them.",
}
ACTIVATIONS = {
    "relu": nn.ReLU(),
    "leaky": nn.LeakyReLU(0.2),
    "elu": nn.ELU(0.7),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(width=16, shape=(1, 4, 4), activation=None, code=2):
    torch.manual_seed(0)
    last = nn.Linear(width, int(np.prod(shape)))
    layers = nn.Linear(code, width), activation or nn.ReLU(), last, nn.Unflatten(1, shape)
    return nn.Sequential(*layers)


def make(decoder=None, codes=None, shape=(1, 4, 4), **options):
    codes = 2 * drawn(40, 2) if codes is None else codes
    return figures.pad(decoder or small(), codes, **{**WORDS, "shape": shape, **options})


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_the_page_computes_is_the_decoder_up_to_float16(activation):
    decoder, codes = small(64, activation=ACTIVATIONS[activation]), 2 * drawn(200, 2)
    layers, weights = translated(decoder, 16)
    with torch.no_grad():
        expected = decoder(codes).flatten(1).numpy()
    gap = np.abs(page_decode(layers, weights, codes.double().numpy()) - expected).max()
    assert 0 < gap < GAP
    assert make(decoder, codes).gap == pytest.approx(gap, abs=1e-6)


def test_models_with_a_code_of_two_bring_their_shape():
    for model in (
        models.MLPAutoencoder((3, 4, 4), width=16, depth=3, code=2),
        models.VAE((3, 4, 4), width=16, depth=3, code=2),
    ):
        pad = figures.pad(model, drawn(30, 2), labels=torch.arange(30) % 3, **WORDS)
        assert '"shape": [3, 4, 4]' in pad.html
        assert pad.gap < GAP


def test_a_model_in_training_mode_is_left_in_it_and_dropout_draws_nothing():
    decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 16)).train()
    assert make(decoder).gap < GAP
    assert decoder.training
    assert decoder[2].training


def test_the_html_is_one_piece_that_asks_for_nothing():
    page = make(labels=torch.arange(40) % 4, classes=["a</script>", "b", "c", "d"]).html
    assert page.count("</script>") == 2  # its data and its script, and none in a text
    assert "${" not in page.split("<script>")[0]
    assert not re.search(r"https?://|src=\"(?!data:)", page)
    assert page.index('data-part="controls" hidden') < page.index("<script>")


def test_equal_pads_are_equal_bytes():
    assert make().html == make().html


def test_a_class_without_a_code_has_no_name_on_the_pad():
    page = make(labels=2 * (torch.arange(40) % 2)).html
    assert re.findall(r'"label": (\d), "name": "(\d)"', page) == [("0", "0"), ("2", "2")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decoder": small(code=3)}, "decoder: .*take 2 numbers, got 3; .*train with code=2"),
        ({"decoder": small(700 * 700)}, "decoder: .*at most 900 kB"),
        ({"decoder": nn.Sequential(nn.Linear(2, 16), nn.Softplus())}, "decoder: .*Softplus as lay"),
        ({"decoder": nn.Linear(2, 16)}, "decoder: .*nn.Sequential"),
        ({"codes": drawn(40, 3)}, r"codes: .*\(n, 2\)"),
        ({"codes": torch.ones(40, 2)}, "codes: .*that differ"),
        ({"shape": (1, 5, 4)}, "decoder: .*20 elements, got 16; check shape"),
        ({"shape": (2, 4, 2)}, "shape: .*1 or 3 channels"),
        ({"shape": None}, "shape: .*channels"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels: .*40 whole numbers"),
        ({"labels": torch.arange(40)}, "labels: .*0 to 9"),
        ({"labels": torch.arange(40) % 3, "classes": "ab"}, "labels: .*0 to 1"),
        ({"name": "pad"}, "name: .*'play-'"),
        ({"alt": "pad.png"}, "alt: .*a sentence"),
    ],
)
def test_what_cannot_work_is_refused(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make(**change)


def test_weights_too_large_for_float16_are_refused():
    decoder = small()
    with torch.no_grad():
        decoder[0].weight *= 3000
        decoder[2].weight /= 10
    with pytest.raises(ValueError, match=r"decoder: .*too large for float16"):
        make(decoder)


def test_a_decode_that_does_more_than_its_layers_is_refused():
    class Shifted(nn.Module):
        shape = (1, 4, 4)

        def __init__(self):
            super().__init__()
            self.decoder = small()

        def decode(self, codes):
            return self.decoder(codes) + 0.1

    with pytest.raises(ValueError, match=r"decoder: .*decode does more"):
        figures.pad(Shifted(), drawn(40, 2), **WORDS)


# ---------------------------------------------------------------- in a browser

MODEL = models.MLPAutoencoder((1, 8, 8), width=256, depth=5, code=2, gain=1.2)
CODES = 3 * drawn(1437, 2, seed=1)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    pad = figures.pad(MODEL, CODES, labels=torch.arange(1437) % 10, caption="Drag it.", **WORDS)
    file = tmp_path_factory.mktemp("pad") / "page.html"
    head = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Pad</title>"
    file.write_text(
        f"{head}</head><body><main><h1>Pad</h1>{pad.html}</main></body></html>", encoding="utf-8"
    )
    return file


@pytest.fixture
def tab(chromium, page, request):
    options = getattr(request, "param", {})
    context = chromium.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
    tab = context.new_page()
    tab.complaints = []
    # fmt: off
    tab.on("console", lambda message: tab.complaints.append(message.text)
           if "willReadFrequently" not in message.text else None)  # that is this test's reading
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda asked: tab.complaints.append(asked.url)
           if not asked.url.startswith(("file:", "data:")) else None)
    # fmt: on
    tab.goto(page.as_uri())
    yield tab
    context.close()


def picture(tab) -> list[int]:
    return tab.evaluate(
        """() => { const c = document.querySelector('[data-part="picture"]');
        return Array.from(c.getContext("2d").getImageData(0, 0, c.width, c.height).data)
          .filter((_, i) => i % 4 == 0) }"""
    )


def where(tab) -> tuple[float, float]:
    text = tab.inner_text('[data-part="where"]').replace("\N{MINUS SIGN}", "-")
    return tuple(float(number) for number in re.findall(r"-?\d+\.\d+", text))


def settle(tab) -> None:
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")


def test_the_page_draws_what_torch_draws(tab):
    codes = CODES[:50]
    pictures = tab.evaluate(
        """codes => { const root = document.getElementById("play-pad");
        return codes.map(code => Array.from(root.decode(code))) }""",
        codes.tolist(),
    )
    with torch.no_grad():
        expected = MODEL.decode(codes).flatten(1)
    gap = float((torch.tensor(pictures) - expected).abs().max())
    print(f"\nlargest difference from torch: {gap:.1e} grey levels")
    assert gap < GAP
    assert not tab.complaints


def test_every_activation_is_on_the_page_what_it_is_in_torch(chromium, tmp_path):
    decoders = {f"play-{i}": small(8, activation=a) for i, a in enumerate(ACTIVATIONS.values())}
    pads = [make(decoder, **{**WORDS, "name": name}).html for name, decoder in decoders.items()]
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'>{''.join(pads)}", encoding="utf-8")
    tab = chromium.new_page()
    tab.goto(file.as_uri())
    codes = 2 * drawn(20, 2)
    for name, decoder in decoders.items():
        pictures = tab.evaluate(
            """([name, codes]) => codes.map(
            code => Array.from(document.getElementById(name).decode(code)))""",
            [name, codes.tolist()],
        )
        gap = (torch.tensor(pictures) - decoder(codes).flatten(1)).abs().max()
        assert gap < GAP, decoder[1]
    tab.close()


def test_dragging_and_keys_move_the_point_and_the_picture_follows(tab):
    assert tab.is_hidden('[data-part="still"]')
    box = tab.locator('[data-part="pad"]').bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)
    before, start = picture(tab), where(tab)
    tab.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=5)
    tab.mouse.up()
    settle(tab)
    dragged = where(tab)
    assert dragged != start
    assert picture(tab) != before
    side = float(np.ptp(CODES.numpy(), axis=0).max()) * 1.08
    corner = (CODES.max(0).values + CODES.min(0).values) / 2 - side / 2
    assert dragged == pytest.approx((float(corner[0] + 0.6 * side), float(corner[1] + 0.3 * side)),
                                    abs=side / 100)  # fmt: skip
    with torch.no_grad():
        expected = MODEL.decode(torch.tensor([dragged])).flatten().clamp(0, 1) * 255
    assert np.abs(np.array(picture(tab)) - expected.numpy()).max() < 4  # the text has two decimals
    tab.mouse.move(box["x"] + 5, box["y"] + 5)  # no button: nothing is held
    settle(tab)
    assert where(tab) == dragged

    tab.keyboard.press("ArrowRight")
    settle(tab)
    assert where(tab)[0] == pytest.approx(dragged[0] + 0.02 * side, abs=0.02)
    tab.keyboard.press("Shift+ArrowDown")
    settle(tab)
    assert where(tab)[1] == pytest.approx(dragged[1] - 0.1 * side, abs=0.02)
    for _ in range(80):
        tab.keyboard.press("ArrowUp")
    settle(tab)
    assert where(tab)[1] == pytest.approx(float(corner[1]) + side, abs=0.02)  # stays inside
    tab.wait_for_function("document.querySelector('[data-part=spoken]').textContent.length > 9")
    assert "nearest training code is of" in tab.inner_text('[data-part="spoken"]')
    assert not tab.complaints


@pytest.mark.parametrize(
    "tab",
    [{"viewport": {"width": 360, "height": 700}, "has_touch": True, "is_mobile": True}],
    indirect=True,
)
def test_a_finger_moves_it_on_a_phone(tab):
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    box = tab.locator('[data-part="pad"]').bounding_box()
    assert box["width"] > 200
    before = where(tab)
    tab.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settle(tab)
    assert where(tab) != before
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


def test_a_frame_is_quick(tab):
    """Printed, not asserted: the machine decides."""
    took = tab.evaluate(
        """() => { const root = document.getElementById("play-pad"), all = [];
        for (let i = 0; i < 200; i++) { const t = performance.now();
          root.decode([i / 100, -i / 100]); all.push(performance.now() - t); }
        return all }"""
    )
    print(f"\na decode: median {statistics.median(took):.2f} ms, slowest {max(took):.2f} ms")
    assert len(took) == 200
