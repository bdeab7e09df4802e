// A copier with a code of two numbers, applied again and again: drop a point, and watch it walk.
const CALM = window.matchMedia && matchMedia("(prefers-reduced-motion: reduce)").matches;

awaken("attractors", function (root, part, data) {
  const { picture, project } = basis(halves(data.directions), halves(data.mean));
  const map = part("map"), pen = map.getContext("2d"), size = map.width;
  const speak = speaker(root), names = Object.keys(data.stages);
  let taught = names[0], stage, point = null, drawn = null, walk, shown, frame = null, under;

  const stages = Object.fromEntries(names.map((name) => [name, data.stages[name].map((one) => {
    const decode = network(one.decoder, halves(one.decoder_weights));
    const encode = network(one.encoder, halves(one.encoder_weights));
    return {
      ...one, decode, encode, basins: bytes(one.basins), labels: bytes(one.labels),
      codes: new Uint16Array(bytes(one.codes).buffer),
      step: (code) => encode(decode(code)),
      to: (share) => Array.from(share, (at, axis) => one.corner[axis] + one.side * at),
      from: (code) => Array.from(code, (at, axis) => (at - one.corner[axis]) / one.side),
    };
  })]));
  const draws = (code) => picture(stage.decode(code));
  const dot = (share) => [share[0] * size, (1 - share[1]) * size]; // from the lower left

  // ------------------------------------------------------------ the map

  const tint = (basin) => `hsl(${(basin * 137.5) % 360} 70% ${basin % 2 ? 84 : 90}%)`;

  function drawMap() { // all but the walk
    under = sized(document.createElement("canvas"), [size, size]);
    const on = under.getContext("2d"), across = Math.sqrt(stage.basins.length), cell = size / across;
    const basin = (x, y) => stage.basins[y * across + x];
    on.fillStyle = data.paper;
    on.fillRect(0, 0, size, size);
    for (let y = 0; y < across; y++) {
      for (let x = 0; x < across; x++) {
        const top = size - (y + 1) * cell;
        if (basin(x, y) !== 255) {
          on.fillStyle = tint(basin(x, y));
          on.fillRect(x * cell, top, cell + 0.5, cell + 0.5);
        }
        on.fillStyle = data.faint;
        if (x + 1 < across && basin(x, y) !== basin(x + 1, y)) on.fillRect((x + 1) * cell, top, 1.5, cell);
        if (y + 1 < across && basin(x, y) !== basin(x, y + 1)) on.fillRect(x * cell, top, cell, 1.5);
      }
    }
    on.font = "15px sans-serif";
    on.textAlign = "center";
    on.textBaseline = "middle";
    on.fillStyle = "rgba(31, 35, 40, .55)";
    stage.labels.forEach(function (label, i) {
      on.fillText(label, ...dot([stage.codes[2 * i] / 65535, stage.codes[2 * i + 1] / 65535]));
    });
    const arrows = 18;
    on.strokeStyle = on.fillStyle = data.color;
    on.lineWidth = 2;
    for (let i = 0; i < arrows * arrows; i++) {
      const from = [(i % arrows + 0.5) / arrows, (Math.floor(i / arrows) + 0.5) / arrows];
      const to = stage.from(stage.step(stage.to(from)));
      const by = [to[0] - from[0], to[1] - from[1]], far = Math.hypot(...by);
      const length = Math.min(0.9 / arrows, 0.35 * Math.sqrt(far / arrows)); // faint pulls show, too
      arrow(on, dot(from), dot(from.map((at, axis) => at + by[axis] * length / (far || 1))));
    }
    for (const code of stage.others) cross(on, dot(stage.from(code)));
    for (const code of stage.attractors) {
      disc(on, dot(stage.from(code)), 9, data.paper);
      disc(on, dot(stage.from(code)), 7, data.ink);
    }
  }

  function arrow(on, [x0, y0], [x1, y1]) {
    const angle = Math.atan2(y1 - y0, x1 - x0), tip = Math.min(7, Math.hypot(x1 - x0, y1 - y0));
    on.beginPath();
    on.moveTo(x0, y0);
    on.lineTo(x1, y1);
    for (const side of [-0.5, 0.5]) {
      on.moveTo(x1, y1);
      on.lineTo(x1 - tip * Math.cos(angle + side), y1 - tip * Math.sin(angle + side));
    }
    on.stroke();
  }

  function disc(on, [x, y], radius, color) {
    on.beginPath();
    on.arc(x, y, radius, 0, 7);
    on.fillStyle = color;
    on.fill();
  }

  function cross(on, [x, y]) {
    on.save();
    on.beginPath();
    for (const side of [-5, 5]) { on.moveTo(x - 5, y - side); on.lineTo(x + 5, y + side); }
    on.strokeStyle = data.ink;
    on.stroke();
    on.restore();
  }

  // ------------------------------------------------------------ the walk

  // Codes on the way, until it rests or has gone far enough, and which attractor it came to.
  function walkFrom(code) {
    const path = [Array.from(code)];
    while (path.length <= data.times) {
      const now = path[path.length - 1], next = Array.from(stage.step(now));
      path.push(next);
      if (Math.hypot(next[0] - now[0], next[1] - now[1]) < 1e-6 * stage.side) break;
    }
    const end = path[path.length - 1];
    const far = stage.attractors.map((at) => Math.hypot(at[0] - end[0], at[1] - end[1]));
    const onto = far.indexOf(Math.min(...far));
    const near = path.findIndex((code) => onto >= 0
      && Math.hypot(code[0] - stage.attractors[onto][0], code[1] - stage.attractors[onto][1])
        < 0.02 * stage.side);
    return { path, onto: near < 0 ? -1 : onto, times: near };
  }

  function drawWalk() {
    frame = null;
    const { path, onto, times } = walk, last = onto < 0 ? path.length - 1 : Math.max(times, 1);
    shown = CALM ? last : Math.min(last, shown + Math.max(1, Math.ceil(last / 90)));
    pen.drawImage(under, 0, 0);
    pen.strokeStyle = data.trail;
    pen.lineWidth = 4;
    pen.beginPath();
    path.slice(0, shown + 1).forEach((code) => pen.lineTo(...dot(stage.from(code))));
    pen.stroke();
    for (const code of path.slice(1, shown)) disc(pen, dot(stage.from(code)), 4, data.trail);
    disc(pen, dot(stage.from(path[0])), 12, data.paper);
    disc(pen, dot(stage.from(path[0])), 9, data.trail);
    disc(pen, dot(stage.from(path[shown])), 8, data.trail);
    paint(three[1].canvas, draws(path[shown]));
    three[1].label.textContent = `after ${often(shown)}`;
    if (shown < last) { frame = requestAnimationFrame(drawWalk); return; }
    if (onto >= 0) paint(three[2].canvas, draws(stage.attractors[onto]));
    three[2].canvas.style.visibility = onto < 0 ? "hidden" : "visible";
    for (const [i, canvas] of [...part("all").children].entries()) {
      canvas.className = i === onto ? "landed" : "";
    }
    part("words").textContent = onto < 0
      ? `Still under way after ${often(path.length - 1)}: here the field is faint.`
      : `It is on an attractor after ${often(times)}`
        + ` (code ${stage.attractors[onto].map((at) => signed(at, 1)).join(", ")}).`;
    speak(() => `${part("words").textContent} ${part("finding").textContent}`);
  }

  function drop(code) { // a walk begins here
    walk = walkFrom(code);
    shown = 0;
    paint(three[0].canvas, draws(code));
    three[2].canvas.style.visibility = "hidden";
    if (frame === null) frame = requestAnimationFrame(drawWalk);
  }

  function move(share) {
    [point, drawn] = [share.map((at) => clamp(at, 0, 1)), null];
    drop(stage.to(point));
  }

  // ------------------------------------------------------------ what it was taught, and how long

  function turn() { // to another net
    part("time").max = stages[taught].length - 1;
    stage = stages[taught][Number(part("time").value)];
    const steps = said(stage.steps), count = stage.attractors.length;
    part("steps").textContent = steps;
    part("time").setAttribute("aria-valuetext", `${steps} training steps`);
    for (const button of part("taught").children) {
      button.setAttribute("aria-pressed", button.textContent === taught);
    }
    part("finding").textContent = `Taught ${taught}, after ${steps} steps: ${count}`
      + ` attractor${count === 1 ? "" : "s"}.${count > 1 ? " What they look like:" : ""}`;
    part("all").replaceChildren();
    for (const code of stage.attractors) paint(sized(element(part("all"), "canvas"), data.shape), draws(code));
    part("all").setAttribute("aria-label", `What the decoder draws at ${count} attractors.`);
    drawMap();
    if (drawn) drop(stage.encode(project(drawn)));
    else drop(stage.to(point));
  }

  const three = ["the point", "after 0 times", "its attractor"].map(function (words) {
    const box = element(part("three"), "div");
    return {
      canvas: sized(element(box, "canvas"), data.shape),
      label: element(box, "span", { textContent: words }),
    };
  });
  three.forEach(({ canvas, label }) => {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `What the decoder draws: ${label.textContent}.`);
  });
  for (const name of names) {
    element(part("taught"), "button", { type: "button", textContent: name })
      .addEventListener("click", () => { taught = name; turn(); });
  }
  const time = part("time");
  time.value = time.max = stages[taught].length - 1;
  time.addEventListener("input", turn);
  drag(map, ([x, y]) => move([x, 1 - y]));
  map.addEventListener("keydown", function (event) {
    const by = ARROWS[event.key], step = event.shiftKey ? 0.1 : 0.02;
    if (!by) return;
    event.preventDefault();
    const from = drawn ? stage.from(walk.path[0]) : point;
    move([from[0] + step * by[0], from[1] - step * by[1]]);
  });
  const pad = sketch(part("pad"), data.shape, function (image) {
    if (image === null) return;
    drawn = image;
    drop(stage.encode(project(image)));
  }, 2);
  part("clear").addEventListener("click", pad.clear);
  point = data.start;
  root.nets = stages; // for a test
  root.basis = { picture, project };
  turn();
  part("controls").hidden = false;
  part("still").hidden = true;
});
