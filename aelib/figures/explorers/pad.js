// A pad runs a decoder on the page: drag a point in the square of codes, and it draws.
// Weights come as float16 and are added up in double. The square is paper, like every figure of
// the book, so its points read on a dark page too.
(function () {
  "use strict";

  function bytes(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }

  function fromFloat16(text) {
    const view = new DataView(bytes(text).buffer);
    const out = new Float32Array(view.byteLength / 2);
    for (let i = 0; i < out.length; i++) {
      const half = view.getUint16(2 * i, true);
      const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
      out[i] = sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction / 2 ** 24);
    }
    return out;
  }

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

  function decoder(layers, weights) {
    return function (code) {
      let at = 0, x = code;
      for (const layer of layers) {
        const out = new Float32Array(layer.features || x.length);
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

  function wake(root) {
    root.setAttribute("data-awake", "");
    const part = (name) => root.querySelector('[data-part="' + name + '"]');
    const data = JSON.parse(part("data").textContent);
    const [channels, height, width] = data.shape;
    const decode = decoder(data.layers, fromFloat16(data.weights));
    const points = Array.from(new Uint16Array(bytes(data.points).buffer), (share) => share / 65535);
    const labels = bytes(data.labels);
    const pad = part("pad"), picture = part("picture"), size = pad.width;
    picture.width = width;
    picture.height = height;
    const pen = pad.getContext("2d"), ink = picture.getContext("2d");
    const pixels = ink.createImageData(width, height);
    const background = drawBackground();
    let point = data.start; // shares of the square, from the lower left
    let pending = false, timer;

    function circle(context, x, y, radius) {
      context.beginPath();
      context.arc(x * size, (1 - y) * size, radius, 0, 7);
    }

    function drawBackground() {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = size;
      const context = canvas.getContext("2d");
      context.globalAlpha = 0.45;
      labels.forEach(function (label, i) {
        context.fillStyle = data.colors[label];
        circle(context, points[2 * i], points[2 * i + 1], 4);
        context.fill();
      });
      context.globalAlpha = 1;
      context.font = "bold 30px sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.lineWidth = 6;
      context.strokeStyle = data.paper;
      context.fillStyle = data.ink;
      for (const { name, at } of data.classes) {
        context.strokeText(name, at[0] * size, (1 - at[1]) * size);
        context.fillText(name, at[0] * size, (1 - at[1]) * size);
      }
      return canvas;
    }

    function nearestClass() {
      let least = Infinity, nearest = 0;
      labels.forEach(function (label, i) {
        const distance = (points[2 * i] - point[0]) ** 2 + (points[2 * i + 1] - point[1]) ** 2;
        if (distance < least) { least = distance; nearest = label; }
      });
      const found = data.classes.find((entry) => entry.label === nearest);
      return found ? "; the nearest training code is of " + found.name : "";
    }

    function draw() {
      pending = false;
      const code = point.map((share, axis) => data.corner[axis] + data.side * share);
      const out = decode(code), area = height * width;
      for (let i = 0; i < area; i++) {
        for (let c = 0; c < 3; c++) {
          pixels.data[4 * i + c] = 255 * out[channels === 3 ? c * area + i : i];
        }
        pixels.data[4 * i + 3] = 255;
      }
      ink.putImageData(pixels, 0, 0);
      pen.clearRect(0, 0, size, size);
      pen.drawImage(background, 0, 0);
      circle(pen, point[0], point[1], 15);
      pen.lineWidth = 9; pen.strokeStyle = data.paper; pen.stroke();
      pen.lineWidth = 5; pen.strokeStyle = data.ink; pen.stroke();
      const numbers = code.map((number) => number.toFixed(2).replace("-", "\u2212"));
      part("where").textContent = "code (" + numbers.join(", ") + ")";
      clearTimeout(timer); // a screen reader hears where the point stops, not the way there
      timer = setTimeout(function () {
        const text = part("where").textContent + nearestClass();
        part("spoken").textContent = text;
        picture.setAttribute("aria-label", "What the decoder draws for " + text + ".");
      }, 600);
    }

    function move(x, y) {
      point = [x, y].map((share) => Math.min(1, Math.max(0, share)));
      if (!pending) { pending = true; requestAnimationFrame(draw); }
    }

    function follow(event) {
      const box = pad.getBoundingClientRect();
      move((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height);
    }

    pad.addEventListener("pointerdown", function (event) {
      pad.setPointerCapture(event.pointerId);
      pad.focus({ preventScroll: true });
      follow(event);
    });
    pad.addEventListener("pointermove", function (event) {
      if (pad.hasPointerCapture(event.pointerId)) follow(event);
    });
    pad.addEventListener("keydown", function (event) {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const arrow = arrows[event.key], step = event.shiftKey ? 0.1 : 0.02;
      if (event.key === "Home") move(0.5, 0.5);
      else if (arrow) move(point[0] + step * arrow[0], point[1] + step * arrow[1]);
      else return;
      event.preventDefault();
    });
    root.decode = decode;
    part("controls").hidden = false;
    part("still").hidden = true;
    draw();
  }

  document.querySelectorAll(".aelib-pad:not([data-awake])").forEach(wake);
})();
