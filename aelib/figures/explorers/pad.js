// A pad runs a decoder on the page: drag a point in the square of codes, and it draws.
// The square is paper, like every figure of the book, so its points read on a dark page too.
awaken("pad", function (root, part, data) {
  const [channels, height, width] = data.shape;
  const decode = network(data.layers, halves(data.weights));
  const points = Array.from(new Uint16Array(bytes(data.points).buffer), (share) => share / 65535);
  const labels = bytes(data.labels);
  const pad = part("pad"), picture = part("picture"), size = pad.width;
  const pen = pad.getContext("2d"), speak = speaker(root);
  sized(picture, [height, width]);
  const background = drawBackground();
  let point = data.start; // shares of the square, from the lower left
  let pending = false;

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
    paint(picture, decode(code), 0, channels);
    pen.clearRect(0, 0, size, size);
    pen.drawImage(background, 0, 0);
    circle(pen, point[0], point[1], 15);
    pen.lineWidth = 9; pen.strokeStyle = data.paper; pen.stroke();
    pen.lineWidth = 5; pen.strokeStyle = data.ink; pen.stroke();
    part("where").textContent = `code (${code.map((number) => signed(number, 2)).join(", ")})`;
    speak(function () {
      const text = part("where").textContent + nearestClass();
      picture.setAttribute("aria-label", `What the decoder draws for ${text}.`);
      return text;
    });
  }

  function move(x, y) {
    point = [x, y].map((share) => clamp(share, 0, 1));
    if (!pending) { pending = true; requestAnimationFrame(draw); }
  }

  drag(pad, ([x, y]) => move(x, 1 - y));
  pad.addEventListener("keydown", function (event) {
    const arrow = ARROWS[event.key], step = event.shiftKey ? 0.1 : 0.02;
    if (event.key === "Home") move(0.5, 0.5);
    else if (arrow) move(point[0] + step * arrow[0], point[1] - step * arrow[1]);
    else return;
    event.preventDefault();
  });
  root.decode = decode;
  part("controls").hidden = false;
  part("still").hidden = true;
  draw();
});
