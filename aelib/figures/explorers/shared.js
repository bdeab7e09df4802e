// What the explorers share: numbers out of a page's data, nets, pictures, a pad to draw on.

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const said = (number) => number.toLocaleString("en-GB");
const often = (times) => `${said(times)} ${times === 1 ? "time" : "times"}`;
const minus = (text) => text.replaceAll("-", "\u2212");
const signed = (number, places) => minus(number.toFixed(places));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function halves(text) { // float16
  const view = new DataView(bytes(text).buffer);
  return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => {
    const half = view.getUint16(2 * i, true);
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction / 2 ** 24);
  });
}

// ---------------------------------------------------------------- nets

function erf(x) { // Abramowitz and Stegun 7.1.26, within 2e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
    + 0.254829592) * t * Math.exp(-x * x);
  return x < 0 ? -y : y;
}

const activations = {
  relu: (x) => Math.max(x, 0),
  leaky_relu: (x, slope) => (x > 0 ? x : slope * x),
  elu: (x, slope) => (x > 0 ? x : slope * Math.expm1(x)),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  gelu: (x) => x * (1 + erf(x / Math.SQRT2)) / 2,
  gelu_tanh: (x) => x / 2 * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

// A stack of layers as one function. Weights come as float16 and are added up in double.
function network(layers, weights) {
  return function (input) {
    let at = 0, x = input;
    for (const layer of layers) {
      const out = new Float64Array(layer.features || x.length);
      if (layer.activation) {
        const activation = activations[layer.activation];
        for (let i = 0; i < out.length; i++) out[i] = activation(x[i], layer.slope);
      } else {
        for (let i = 0; i < out.length; i++) {
          let sum = 0;
          for (let j = 0; j < x.length; j++) sum += weights[at++] * x[j];
          out[i] = sum;
        }
        if (layer.bias) for (let i = 0; i < out.length; i++) out[i] += weights[at++];
      }
      x = out;
    }
    return x;
  };
}

// Directions that lie row by row in one array: what an image has of each, and images made of them.
function basis(rows, mean) {
  const d = mean.length, k = rows.length / d;
  return {
    project(image) {
      return Float64Array.from({ length: k }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < d; j++) sum += rows[i * d + j] * (image[j] - mean[j]);
        return sum;
      });
    },
    picture(parts) {
      const image = Float64Array.from(mean);
      for (let i = 0; i < k; i++) {
        for (let j = 0; j < d; j++) image[j] += parts[i] * rows[i * d + j];
      }
      return image;
    },
  };
}

// ---------------------------------------------------------------- the page

function element(parent, tag, settings = {}) {
  return Object.assign(parent.appendChild(document.createElement(tag)), settings);
}

function sized(canvas, [height, width]) {
  [canvas.height, canvas.width] = [height, width];
  return canvas;
}

// Grey images of one channel, or colours one after the other; clipped, as on a screen.
function paint(canvas, images, at = 0, channels = 1) {
  const { width, height } = canvas, area = height * width;
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = 255 * images[at + (channels === 3 ? c * area + i : i)];
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

// A screen reader hears where something stops, not the way there.
function speaker(root) {
  const spoken = root.querySelector('[data-part="spoken"]');
  let timer;
  return function (words, wait = 600) {
    clearTimeout(timer);
    timer = setTimeout(function () { spoken.textContent = words(); }, wait);
  };
}

// Where a pointer is on an element, as shares of it from the upper left.
function place(target, event) {
  const box = target.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

// Mouse or finger: `follow` is called with the place for as long as it is down.
function drag(target, follow) {
  target.addEventListener("pointerdown", function (event) {
    target.setPointerCapture(event.pointerId);
    target.focus({ preventScroll: true });
    follow(place(target, event), true);
  });
  target.addEventListener("pointermove", function (event) {
    if (target.hasPointerCapture(event.pointerId)) follow(place(target, event), false);
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// A canvas to draw a digit on, with a soft round pen, so that strokes look like those of the
// digits. `changed` hears the pixels once a frame; null for an empty pad, which is no image.
function sketch(canvas, shape, changed, radius = 1.3) {
  const [height, width] = shape;
  sized(canvas, shape);
  let pixels = new Float32Array(height * width), pending = false;
  let pen = [width / 2, height / 2], keyed = false; // keyed: moved by the keyboard
  let given = false; // an image that was put there, and not drawn: the first stroke replaces it

  function dab([px, py]) {
    if (given) [pixels, given] = [new Float32Array(height * width), false];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const ink = clamp(radius - Math.hypot(x + 0.5 - px, y + 0.5 - py), 0, 1);
        pixels[y * width + x] = Math.max(pixels[y * width + x], ink);
      }
    }
  }

  function redraw() {
    paint(canvas, pixels);
    if (keyed) { // where the pen stands
      const context = canvas.getContext("2d");
      context.fillStyle = "rgba(230, 159, 0, .7)";
      context.fillRect(Math.floor(pen[0]), Math.floor(pen[1]), 1, 1);
    }
  }

  function tell() {
    redraw();
    if (pending) return;
    pending = true;
    requestAnimationFrame(function () {
      pending = false;
      changed(pixels.some((value) => value > 0) ? pixels.slice() : null);
    });
  }

  drag(canvas, function ([x, y], first) {
    const to = [x * width, y * height];
    const far = first ? 0 : Math.hypot(to[0] - pen[0], to[1] - pen[1]);
    for (let i = 1; i < far; i++) { // a quick hand leaves no gaps
      dab(pen.map((from, axis) => from + (to[axis] - from) * i / far));
    }
    [pen, keyed] = [to, false];
    dab(pen);
    tell();
  });
  canvas.addEventListener("keydown", function (event) {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== " ") return;
    event.preventDefault();
    keyed = true;
    if (!arrow) { dab(pen); tell(); return; }
    pen = pen.map((at, axis) =>
      clamp(Math.floor(at) + 0.5 + arrow[axis], 0.5, [width, height][axis] - 0.5));
    redraw();
  });
  redraw();
  return {
    set(image) { // without telling
      [pixels, keyed, given] = [Float32Array.from(image), false, true];
      redraw();
    },
    clear() {
      [pixels, keyed, given] = [new Float32Array(height * width), false, false];
      tell();
    },
  };
}

// Every explorer of a kind that stands on the page and has not been woken yet, so that running a
// cell twice in one notebook wakes the new one.
function awaken(kind, wake) {
  document.querySelectorAll(`.aelib-${kind}:not([data-awake])`).forEach(function (root) {
    root.setAttribute("data-awake", "");
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    wake(root, part, JSON.parse(part("data").textContent));
  });
}
