// The copying machine: a page trains an autoencoder under the reader's finger. Here is its front:
// buttons, pictures, curves and words. The work is done by a session, which answers in frames.

const PLAIN = {
  count: 4, noise: false, depth: 5, width: 128, gain: 1, skip: 0, sigma: 0, rate: 0.001, goal: 1500,
};

// The book's experiments: what is other than plain, and what to watch for; last, on the curves.
const experiments = (all) => ({
  "Four images": [{ goal: 400 }, "Watch the new digits. Each comes out as one of the four that were"
    + " taught, more or less; and when the net is applied again and again, it lands on that one"
    + ` exactly. Then take all ${said(all)}.`, ""],
  [`All ${said(all)} images`]: [{ count: all, rate: 0.002 }, "The same net, taught many. Watch the"
    + " new digits: now they come out as themselves, and land on no image that was taught.", " Watch"
    + " the decibels at σ = 0.5, too: they rise until about step 300, then fall, while the copies go"
    + " on improving: the net begins to copy noise as well."],
  "64 images": [{ count: 64, rate: 0.002 }, "Between the two. It copies its own images closely, yet"
    + " new digits come to rest on others. Train on and see whether any is stored.", " Watch the"
    + " decibels at σ = 0.5 rise until about step 300, then fall."],
  "White noise": [{ noise: true, depth: 1, rate: 0.002 }, "One hidden layer, taught nothing but"
    + " noise, always new. Noise varies in every direction alike. Watch κ climb: this net is on its"
    + " way to the identity, and copies digits that it never saw.", ""],
  "Skip": [{ count: all, skip: 1, rate: 0.002, goal: 500 }, "The input is added to the output, so the"
    + " net copies before it has learned anything. Watch κ stay near 1: noise comes out as noise.", ""],
  "Large start": [{ count: all, gain: 2.45, rate: 0.002, goal: 1000 }, "All images, from first"
    + " weights 2.4 times as large. Watch κ and τ: more noise gets through than from the small start,"
    + " much of it scrambled.", ""],
  "Denoise": [{ count: all, sigma: 0.2, rate: 0.002 }, "Noisy digits come in, clean ones are asked"
    + " for. Watch the decibels at σ = 0.2, and compare them with those of the copier.", ""],
});

const pace = (steps) => `${said(steps)} ${steps === 1 ? "step" : "steps"}`;
const numbers = (...values) => values.map((value) => [value, said(value)]);
const choices = (all) => ({
  count: ["Images", [...numbers(1, 4, 16, 64, 256), [all, `all ${said(all)}`],
    [0, "white noise, always new"]].filter(([value]) => value <= all)],
  depth: ["Hidden layers", numbers(1, 3, 5, 7)],
  width: ["Width", numbers(32, 64, 128, 256)],
  gain: ["First weights", [[0.5, "half as large"], [1, "as PyTorch draws them"],
    [2.45, "2.4 times as large (He)"]]],
  skip: ["Skip", [[0, "none"], [0.5, "half the input is added"], [1, "the input is added"]]],
  sigma: ["Task", [[0, "copy"], [0.2, "remove noise"]]],
  rate: ["Learning rate", [[0.0005, "0.0005"], [0.001, "0.001"], [0.002, "0.002"],
    [0.01, "0.01"], [0.1, "0.1"], [1, "1 (wild)"]]],
});

// ---------------------------------------------------------------- the session, and where it runs

// In a worker made of its own source, so that a page from file:// needs no second file. Where that
// is refused, at once or a moment later, the session moves into the page with what was ordered.
function engine(data, receive) {
  let pending = [], local = null, worker = null;
  function home() {
    worker = null;
    local = session(trainer(), data, receive, 10);
    pending.splice(0).forEach(local);
    receive({ home: true });
  }
  try {
    const source = `const run = (${session})((${trainer})(), ${JSON.stringify(data, plainly)},`
      + " (frame) => postMessage(frame), 40); onmessage = (event) => run(event.data);";
    worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    worker.onmessage = ({ data: frame }) => { pending = []; receive(frame); };
    worker.onerror = (event) => { event.preventDefault(); home(); };
  } catch (error) {
    setTimeout(home, 0);
  }
  return function (order, value) {
    if (local) return local({ order, value });
    pending.push({ order, value });
    if (worker) worker.postMessage({ order, value });
  };
}

const plainly = (key, value) => (value instanceof Uint8Array ? Array.from(value) : value);

// ---------------------------------------------------------------- pictures and curves

// One group of images: what goes in, its copy, the copy of the copy of …, and where that lands.
const ROWS = ["goes in", "one copy", "again", "lands on"];
function group(parent, title, shape) {
  const root = element(parent, "div", { className: "group" });
  root.setAttribute("role", "img");
  const head = element(root, "b", { textContent: title });
  const rows = ROWS.map((textContent) => ({ label: element(root, "span", { textContent }), cells: [] }));
  return {
    root, head, rows,
    across(count) {
      root.style.setProperty("--across", count);
      root.style.gridTemplateColumns = `auto repeat(${count}, max-content)`;
      for (const { label, cells } of rows) {
        while (cells.length > count) cells.pop().remove();
        while (cells.length < count) {
          const cell = sized(document.createElement("canvas"), shape);
          (cells[cells.length - 1] || label).after(cell);
          cells.push(cell);
        }
      }
    },
  };
}

// Curves over steps, named at their right ends. `lines` are [name, values]; `scale` is of the axis.
function chart(svg, title, steps, lines, ticks, scale = (v) => v) {
  const left = 44, right = 184, top = 26, bottom = 142, last = Math.max(10, steps[steps.length - 1] || 0);
  const low = scale(ticks[0][0]), high = scale(ticks[ticks.length - 1][0]);
  const x = (step) => left + (right - left) * Math.log10(Math.max(step, 1)) / Math.log10(last);
  const y = (v) => bottom - (bottom - top) * (clamp(scale(v), low, high) - low) / (high - low);
  const text = ([from, base], words, rest = "") =>
    `<text x="${from}" y="${base}" ${rest}>${words}</text>`;
  let drawn = text([8, 16], title, 'font-weight="600"');
  for (const [value, words] of ticks) {
    if (words) drawn += `<path d="M${left} ${y(value)}H${right}" class="grid"/>`
      + text([left - 4, y(value) + 4], words, 'text-anchor="end"');
  }
  for (let step = 1; step <= last; step *= 10) {
    drawn += text([x(step), 157], said(step), 'text-anchor="middle"');
  }
  const ends = lines.map(([name, values], i) => ({ name, i, at: y(values[values.length - 1]) + 4 }));
  ends.sort((a, b) => a.at - b.at).forEach((end, k) => { // names keep clear of one another
    if (k && end.at < ends[k - 1].at + 13) end.at = ends[k - 1].at + 13;
  });
  const over = Math.max(0, ends[ends.length - 1].at - bottom - 4);
  lines.forEach(([, values], i) => {
    const points = values.map((v, k) => `${x(steps[k]).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
    const dash = ["", "7 3", "2 3"][i];
    drawn += `<polyline points="${points}" class="curve ${"abc"[i]}" stroke-dasharray="${dash}"/>`;
  });
  for (const { name, i, at } of ends) {
    drawn += text([right + 5, at - over], name, `class="${"abc"[i]}" font-weight="600"`);
  }
  svg.innerHTML = `<g font-size="12">${drawn}</g>`;
  const say = ([name, values]) => `${name} ${minus(values[values.length - 1].toPrecision(2))}`;
  svg.setAttribute("aria-label", `${title}, over training steps; now ${lines.map(say).join(", ")}.`);
}

// ---------------------------------------------------------------- words

// The marks of the last row, by what came of an image: see `landings`.
const FATES = {
  landed: "green frame: on this taught image",
  rests: "square: comes to rest on something that it was never taught (a spurious state)",
  away: "cross: runs away, lands nowhere",
  moves: "dots: still moving",
};
const fate = (onto) => (onto >= 0 ? "landed" : ["rests", "away", "moves"][-1 - onto]);

function drawn([height, width]) { // the marks as pictures, and an empty one
  const mark = (on) => Float32Array.from({ length: height * width }, (_, i) =>
    (on(i % width, Math.floor(i / width)) ? 0.6 : 0));
  const inner = (at, length) => Math.min(at, length - 1 - at);
  return {
    none: mark(() => false),
    rests: mark((x, y) => Math.min(inner(x, width), inner(y, height)) === 2),
    away: mark((x, y) => inner(x, width) === inner(y, height)),
    moves: mark((x, y) => x % 2 === 1 && inner(y, height) === Math.floor((height - 1) / 2)),
  };
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

// What became of the new digits, and how well it copies.
function finding({ fall, groups: [taught, fresh] }, settings) {
  const { point, onto } = fall;
  if (point.step === 0) return "Nothing learned yet.";
  const copied = point.missed >= 0.7 ? "New digits are not copied."
    : `New digits are copied${point.missed < 0.25 ? "" : " in part"}: ${percent(point.missed)} of what`
      + " they differ in is missed.";
  if (settings.noise) {
    return `${copied} Of noise on them, ${percent(Math.max(0, point.copy))} is copied in place (κ).`;
  }
  const ends = onto.slice(taught, taught + fresh), hits = ends.filter((number) => number >= 0).length;
  const many = hits === fresh ? `All ${fresh}` : hits ? `${hits} of ${fresh}` : `None of ${fresh}`;
  const one = settings.count === 1;
  const them = one ? "the one image" : `one of the ${said(settings.count)} images`;
  const own = point.loss * point.missed / point.error; // the part of its own images that is missed
  const stored = hits === fresh ? `it has stored ${one ? "it" : "them"}.`
    : hits ? "not every start finds a stored one."
    : own < 0.2 ? `it has stored none, though it copies its own images (${percent(own)} missed).`
    : `no wonder, since of its own images it still misses ${percent(own)}. Train on.`;
  return `${many} new digits ${hits ? "land" : "lands"} on ${them} it was taught: ${stored} ${copied}`;
}

// ---------------------------------------------------------------- the machine

awaken("machine", function (root, part, data) {
  const [height, width] = data.shape, d = height * width;
  const train = bytes(data.train), trainGrey = Float32Array.from(train, (value) => value / 255);
  const small = root.classList.contains("small"); // on the front page: few images, or all
  const all = train.length / d, presets = experiments(all);
  const marks = drawn(data.shape);
  let settings, chosen, frame = null, wanted = null, playing = false;
  const speak = speaker(root);
  let waiting = true; // the cached picture stands until the machine has come as far as it
  let order = null;

  function give(name, value) {
    if (order === null) {
      order = engine({ pixels: d, train, test: bytes(data.test) }, receive);
      order("start", { ...settings });
    }
    if (name !== undefined) order(name, value);
  }

  function choose(name) {
    chosen = name;
    settings = { ...PLAIN, ...presets[name][0] };
    settings.count = Math.min(settings.count, all);
    for (const select of root.querySelectorAll("[data-setting]")) {
      const key = select.dataset.setting;
      select.value = key === "count" && settings.noise ? 0 : settings[key];
    }
    describe();
  }

  function begin() { // a new net, from its first weights
    waiting = false;
    trouble("");
    if (order) order("start", { ...settings }); else give();
  }

  function describe() {
    for (const button of part("presets").children) {
      button.setAttribute("aria-pressed", button.textContent === chosen);
    }
    const [, words, curves] = chosen ? presets[chosen]
      : ["", "An experiment of your own. Predict what new digits, and noise, will become.", ""];
    part("watch").textContent = small ? words : words + curves;
  }

  function go() {
    playing = true;
    trouble("");
    give("train");
    buttons();
  }

  function buttons() {
    part("train").textContent = playing ? "Pause" : "Train";
  }

  function trouble(words) {
    part("trouble").textContent = words;
    part("trouble").hidden = !words;
  }

  // ------------------------------------------------------------ what comes back

  function receive(message) {
    if (message.home) {
      part("plain").textContent = "This browser runs no workers, so the training shares the page's"
        + " own thread, in short slices, and is slower.";
      part("views").append(part("plain"));
      part("plain").hidden = false;
      return;
    }
    wanted = message;
    if (waiting && !(message.checked && message.step > 0)) return;
    requestAnimationFrame(draw);
  }

  function draw() {
    if (wanted === frame) return;
    frame = wanted;
    waiting = false;
    part("still").hidden = true;
    part("views").hidden = false;
    if (playing !== frame.playing) { playing = frame.playing; buttons(); }
    if (frame.diverged !== null) {
      trouble(`It diverged at step ${said(frame.diverged)}: the errors grew beyond all bounds. The net`
        + ` is as it was at step ${said(frame.step)}. Lower the learning rate, and train on.`);
    }
    const { fall, checked } = frame, shown = [...frame.groups];
    part("finding").textContent = checked ? finding(frame, settings)
      : playing && fall ? `At step ${said(fall.point.step)}: ${finding(frame, settings)}` : "Checking…";
    root.classList.toggle("old", !checked);
    part("blank").hidden = shown[3] > 0;
    let first = 0;
    groups.forEach((one, g) => {
      pictures(one, g, first, Math.min(shown[g], g === 1 ? 6 : shown[g]));
      first += shown[g];
    });
    const marks = new Set(fall ? fall.onto.map(fate) : []);
    part("key").textContent = Object.keys(FATES).filter((mark) => marks.has(mark))
      .map((mark) => FATES[mark]).join("; ");
    curves();
    status();
    if (checked) speak(() => part("finding").textContent, 800);
  }

  function pictures(one, g, first, count) {
    const { fall, checked, inputs, copies } = frame;
    one.root.hidden = count === 0;
    one.across(count);
    const fates = fall ? fall.onto.slice(first, first + count) : [];
    if (g === 0) {
      const own = fates.filter((onto, i) => onto === i).length, some = settings.count > 4;
      one.head.textContent = settings.noise ? "Like those taught"
        : `Taught${some ? ` (4 of ${said(settings.count)})` : ""}${checked ? `: ${own} stay` : ""}`;
    }
    for (let i = 0; i < count; i++) {
      const at = (first + i) * d, [into, copy, again, lands] = one.rows.map(({ cells }) => cells[i]);
      paint(into, inputs, at);
      paint(copy, copies, at);
      const known = i < fates.length;
      again.className = "late"; // grey while it is of an earlier step: see `old`
      lands.className = fates[i] >= 0 ? "late landed" : "late";
      paint(again, known ? fall.ends : marks.none, known ? at : 0);
      if (fates[i] >= 0) paint(lands, trainGrey, fates[i] * d);
      else paint(lands, marks[known ? fate(fates[i]) : "none"]);
    }
    one.rows[2].label.textContent = fall
      ? often(fall.times) + (checked ? "" : `, step ${said(fall.point.step)}`) : "again";
    const landed = fates.filter((onto) => onto >= 0).length;
    one.root.setAttribute("aria-label", `${one.head.textContent}: ${count} images, their copies, and`
      + " what they become when the net is applied again and again"
      + (checked ? `; ${landed} of them land on an image it was taught.` : "."));
  }

  function curves() {
    const { history, levels } = frame, steps = history.map((point) => point.step);
    const of = (pick) => history.map(pick);
    chart(charts[0], "Noise that comes out", steps,
      [["κ, copied", of((p) => p.copy)], ["τ, in all", of((p) => p.transmission)]],
      [[0, "0"], [0.5, "0.5"], [1, "1"], [1.2, ""]]);
    chart(charts[1], "Noise removed, in dB", steps,
      levels.map((sigma, i) => [`σ = ${sigma}`, of((p) => p.gains[i])]),
      [[-10, "−10"], [0, "0"], [10, "10"]]);
    const taught = of((p) => (Number.isFinite(p.loss) ? p.loss : p.error));
    const far = Math.min(...taught) < 1e-8 ? 4 : 2; // powers of ten between two lines
    chart(charts[2], "Squared error", steps, [["taught", taught], ["new", of((p) => p.error)]],
      [4, 3, 2, 1, 0].map((k) => [10 ** (-k * far), k ? `1e−${k * far}` : "1"]), Math.log10);
  }

  function status() {
    const { step, loss, rate, behind, speed, ended } = frame;
    part("status").textContent = `Step ${said(step)}`
      + (Number.isFinite(loss) ? `, error on the taught ${minus(loss.toPrecision(2))}` : "")
      + (playing && rate ? `, ${pace(behind ? Math.round(rate) : speed)} a second` : "")
      + (playing && rate && behind && Number.isFinite(speed)
        ? `; you asked for ${said(speed)}, and this is what your machine can do` : "")
      + (ended ? ". It stopped by itself; Train goes on" : "");
  }

  // ------------------------------------------------------------ controls

  for (const name of Object.keys(presets).slice(0, small ? 2 : undefined)) {
    const button = element(part("presets"), "button", { type: "button", textContent: name });
    button.addEventListener("click", () => { choose(name); begin(); go(); });
  }
  for (const [key, [words, options]] of Object.entries(choices(all))) {
    const label = element(part("settings"), "label", { textContent: `${words} ` });
    const select = element(label, "select", { autocomplete: "off" });
    select.dataset.setting = key;
    for (const [value, text] of options) element(select, "option", { value, textContent: text });
    select.addEventListener("change", () => change(key, Number(select.value)));
  }

  function change(key, value) {
    if (key === "rate") { // goes on from where the net stands
      trouble("");
      settings.rate = value;
      return give("rate", value);
    }
    if (key === "count") settings.noise = value === 0;
    settings[key] = value || (key === "count" ? all : 0);
    settings.goal = PLAIN.goal;
    chosen = null;
    describe();
    begin();
    go();
  }

  part("train").addEventListener("click", () => {
    waiting = false;
    if (!playing) return go();
    playing = false;
    give("pause");
    buttons();
  });
  part("step").addEventListener("click", () => { waiting = false; trouble(""); give("step"); });
  part("reset").addEventListener("click", begin);
  part("speed").addEventListener("change", (event) => give("speed", Number(event.target.value)));
  part("again").addEventListener("input", () => {
    repeat();
    give("again", 2 ** Number(part("again").value));
  });

  function repeat() {
    part("times").textContent = often(2 ** Number(part("again").value));
    part("again").setAttribute("aria-valuetext", part("times").textContent);
  }

  // ------------------------------------------------------------ the reader's own digit

  const drawing = sketch(part("pad"), data.shape, (image) => give("draw", image));
  part("clear").addEventListener("click", drawing.clear);

  // ------------------------------------------------------------ the first view

  const groups = ["Taught", "New digits (6 of 24)", "Noise", "Yours"].map(
    (title) => group(part("groups"), title, data.shape));
  const charts = [0, 1, 2].map(() => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 262 164");
    svg.setAttribute("role", "img");
    return part("charts").appendChild(svg);
  });
  choose(Object.keys(presets)[0]);
  buttons();
  repeat();
  part("controls").hidden = false;
  part("plain").hidden = true;
  root.tools = trainer();

  function warm() { // only when the reader comes near; the page's cached picture stands until then
    if (order !== null) return;
    give("train");
  }
  if (typeof IntersectionObserver === "undefined") warm();
  else {
    const watcher = new IntersectionObserver(function (entries) {
      if (entries.some((entry) => entry.isIntersecting)) { watcher.disconnect(); warm(); }
    }, { rootMargin: "300px" });
    watcher.observe(root);
  }
  document.addEventListener("visibilitychange", function () {
    if (document.hidden && playing) { playing = false; give("pause"); buttons(); }
  });
});
