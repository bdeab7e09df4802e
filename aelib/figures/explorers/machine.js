// The copying machine: a page trains an autoencoder under the reader's finger. Here is its front:
// buttons, pictures, curves and words. The work is done by a session, which answers in frames.

const PLAIN = {
  count: 4, noise: false, depth: 5, width: 128, gain: 1, skip: 0, sigma: 0, rate: 0.001,
};

// The book's experiments: what is other than plain, for how many steps, and what to watch for.
const experiments = (all) => ({
  "Four images": [{}, 400, "Watch the new digits. Each comes out as one of the four that were taught,"
    + " more or less; and when the net is applied again and again, it lands on that one exactly."],
  [`All ${said(all)} images`]: [{ count: all, rate: 0.002 }, 1500, "The same net, taught many. Watch"
    + " the new digits: now they come out as themselves, and land on no image that was taught. Yet"
    + " most noise does not come out as noise (κ): the net copies what digits vary in."],
  "64 images": [{ count: 64, rate: 0.002 }, 1500, "Between the two. Its images are fitted closely,"
    + " but are they stored? Watch where new digits come to rest, and train on when it stops."],
  "White noise": [{ noise: true, depth: 1, rate: 0.002 }, 1500, "One hidden layer, taught nothing but"
    + " noise, always new. Noise varies in every direction alike. Watch κ climb: this net is on its"
    + " way to the identity, and copies digits that it never saw."],
  "Skip": [{ count: all, skip: 1, rate: 0.002 }, 500, "The input is added to the output, so the net"
    + " copies before it has learned anything. Watch κ stay near 1: noise comes out as noise."],
  "Large start": [{ count: all, gain: 2.45, rate: 0.002 }, 1000, "All images, from first weights 2.4"
    + " times as large. Watch κ and τ: more noise gets through than from the small start, much of it"
    + " scrambled."],
  "Denoise": [{ count: all, sigma: 0.2, rate: 0.002 }, 1500, "Noisy digits come in, clean ones are"
    + " asked for. Watch the decibels at σ = 0.2, and compare them with those of the copier."],
});

const numbers = (...values) => values.map((value) => [value, said(value)]);
const choices = (all) => ({
  count: ["Images", [...numbers(1, 4, 16, 64, 256), [all, `all ${said(all)}`],
    [0, "white noise, always new"]].filter(([value]) => value <= all)],
  depth: ["Hidden layers", numbers(1, 3, 5, 7)],
  width: ["Width", numbers(32, 64, 128, 256)],
  gain: ["First weights", [[0.5, "half PyTorch's"], [1, "PyTorch's"], [2.45, "He's, 2.4 times"],
    [4, "4 times"]]],
  skip: ["Skip", [[0, "none"], [0.5, "half the input"], [1, "the input"]]],
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

// Curves over steps, named at their right ends. `lines` are [name, values].
function chart(svg, title, steps, lines, [low, high], ticks, { colors, ink, faint }) {
  const right = 180, top = 26, bottom = 142, last = Math.max(10, steps[steps.length - 1] || 0);
  const x = (step) => 38 + (right - 38) * Math.log10(Math.max(step, 1)) / Math.log10(last);
  const y = (v) => bottom - (bottom - top) * (Math.min(high, Math.max(low, v)) - low) / (high - low);
  const text = ([left, base], words, rest = "") =>
    `<text x="${left}" y="${base}" ${rest}>${words}</text>`;
  let drawn = text([8, 16], title, 'font-weight="600"');
  for (const [value, words] of ticks) {
    drawn += `<path d="M38 ${y(value)}H${right}" stroke="${faint}"/>`
      + text([34, y(value) + 4], words, 'text-anchor="end"');
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
    drawn += `<polyline points="${points}" fill="none" stroke="${colors[i]}" stroke-width="2.2"`
      + ` stroke-dasharray="${dash}"/>`;
  });
  for (const { name, i, at } of ends) {
    drawn += text([right + 5, at - over], name, `style="fill:${colors[i]}" font-weight="600"`);
  }
  svg.innerHTML = `<g font-size="12" fill="${ink}">${drawn}</g>`;
  const say = ([name, values]) => `${name} ${values[values.length - 1].toPrecision(2)}`;
  svg.setAttribute("aria-label", `${title}, over training steps; now ${lines.map(say).join(", ")}.`);
}

// ---------------------------------------------------------------- words

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function finding(frame, settings, hits, of) {
  if (frame.step === 0) return "Nothing learned yet.";
  const point = frame.history[frame.history.length - 1];
  const copied = point.missed >= 0.7 ? "New digits are not copied."
    : `New digits are copied${point.missed < 0.25 ? "" : " in part"}:`
      + ` ${percent(point.missed)} of their variance is missed.`;
  const noise = ` Of noise, ${percent(Math.max(0, point.copy))} comes out in place.`;
  if (settings.noise) return copied + noise;
  if (hits === null) return copied;
  const many = hits === of ? `All ${of}` : hits === 0 ? `None of ${of}` : `${hits} of ${of}`;
  const them = settings.count === 1 ? "the one image" : `one of the ${said(settings.count)} images`;
  const stored = hits >= 0.5 * of ? "it has stored them"
    : hits ? "it has stored a few" : "it has stored none";
  return `${many} new digits ${hits ? "land" : "lands"} on ${them} it was taught: ${stored}. ${copied}`;
}

// ---------------------------------------------------------------- the machine

awaken("machine", function (root, part, data) {
  const [height, width] = data.shape, d = height * width;
  const train = bytes(data.train), trainGrey = Float32Array.from(train, (value) => value / 255);
  const all = train.length / d, presets = experiments(all);
  let settings, chosen, frame = null, wanted = null, playing = false;
  const speak = speaker(root);
  let waiting = true; // the cached picture stands until the machine has come as far as it
  let order = null;

  function give(name, value) {
    if (order === null) {
      const inputs = { pixels: d, train, test: bytes(data.test) };
      order = engine(inputs, receive);
      order("start", { ...settings });
    }
    if (name !== undefined) order(name, value);
  }

  function begin(name) { // an experiment from its first step
    chosen = name;
    settings = { ...PLAIN, ...presets[name][0] };
    settings.count = Math.min(settings.count, all);
    for (const select of root.querySelectorAll("[data-setting]")) {
      const key = select.dataset.setting;
      select.value = key === "count" && settings.noise ? 0 : settings[key];
    }
    describe();
    if (order) order("start", { ...settings });
  }

  function describe() {
    for (const button of part("presets").children) {
      button.setAttribute("aria-pressed", button.textContent === chosen);
    }
    part("watch").textContent = chosen ? presets[chosen][2]
      : "An experiment of your own. Predict first what new digits, and noise, will become.";
  }

  function go(steps) {
    playing = true;
    trouble("");
    give("train", steps);
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
    if (waiting && (message.playing || !message.fall || message.step === 0)) return;
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
      trouble(`It diverged at step ${frame.diverged}: the errors grew beyond all bounds. The net is`
        + ` as it was at step ${frame.step}. Lower the learning rate, and train on.`);
    }
    const fall = frame.fall, shown = [...frame.groups];
    const fresh = fall ? fall.onto.slice(shown[0], shown[0] + shown[1]) : [];
    const hits = fall ? fresh.filter((number) => number >= 0).length : null;
    if (fall || frame.step === 0 || settings.noise) {
      part("finding").textContent = finding(frame, settings, hits, shown[1]);
    }
    let first = 0;
    groups.forEach((one, g) => {
      pictures(one, g, first, Math.min(shown[g], g === 1 ? 6 : shown[g]));
      first += shown[g];
    });
    curves();
    status();
    if (!playing) speak(() => part("finding").textContent, 800);
  }

  function pictures(one, g, first, count) {
    const { fall, inputs, copies } = frame;
    one.root.hidden = count === 0;
    one.across(count);
    if (g === 0) {
      one.head.textContent = settings.noise ? "Like those taught"
        : settings.count > 4 ? `Taught (4 of ${said(settings.count)})` : "Taught";
    }
    let landed = 0;
    for (let i = 0; i < count; i++) {
      const at = (first + i) * d, onto = fall ? fall.onto[first + i] : -1;
      const [into, copy, again, lands] = one.rows.map(({ cells }) => cells[i]);
      paint(into, inputs, at);
      paint(copy, copies, at);
      if (!fall) continue;
      paint(again, fall.ends, at);
      lands.className = onto >= 0 ? "landed" : "none";
      lands.getContext("2d").clearRect(0, 0, width, height);
      if (onto < 0) continue;
      paint(lands, trainGrey, onto * d);
      landed++;
    }
    if (g === 0) { // these begin where they would land
      one.rows[3].label.className = "standing";
      one.rows[3].cells.forEach((cell) => { cell.className = "standing"; });
    }
    if (fall) one.rows[2].label.textContent = often(fall.times);
    one.root.setAttribute("aria-label", `${one.head.textContent}: ${count} images, their copies, and`
      + ` what they become when the net is applied again and again`
      + (g === 0 ? "." : `; ${landed} of them land on an image it was taught.`));
  }

  function curves() {
    const { history, levels } = frame, steps = history.map((point) => point.step);
    const of = (pick) => history.map(pick);
    chart(charts[0], "Noise that comes out", steps,
      [["κ, in place", of((p) => p.copy)], ["τ, in all", of((p) => p.transmission)]],
      [0, 1.2], [[0, "0"], [0.5, "0.5"], [1, "1"]], data);
    chart(charts[1], "Noise removed, in dB", steps,
      levels.map((sigma, i) => [`σ = ${sigma}`, of((p) => p.gains[i])]),
      [-10, 10], [[-10, "−10"], [0, "0"], [10, "10"]], data);
    const log = (value) => Math.log10(Math.max(value, 1e-6));
    chart(charts[2], "Squared error", steps,
      [["taught", of((p) => log(Number.isFinite(p.loss) ? p.loss : p.error))],
        ["new", of((p) => log(p.error))]],
      [-6, 0], [[-6, "1e−6"], [-4, "1e−4"], [-2, "0.01"], [0, "1"]], data);
  }

  function status() {
    const rate = said(Math.round(frame.rate));
    const loss = Number.isFinite(frame.loss)
      ? `, error on the taught ${frame.loss.toPrecision(2)}` : "";
    part("status").textContent = `Step ${said(frame.step)}${loss}`
      + (playing && frame.rate ? `, ${rate} steps a second` : "")
      + (playing && frame.behind && Number.isFinite(frame.speed)
        ? `; you asked for ${said(frame.speed)}, and this is what your machine can do` : "");
  }

  // ------------------------------------------------------------ controls

  const small = root.classList.contains("small"); // on the front page: few images, or all
  for (const name of Object.keys(presets).slice(0, small ? 2 : undefined)) {
    const button = element(part("presets"), "button", { type: "button", textContent: name });
    button.addEventListener("click", () => {
      begin(name);
      waiting = false;
      go(presets[name][1]);
    });
  }
  for (const [key, [words, options]] of Object.entries(choices(all))) {
    const label = element(part("settings"), "label", { textContent: `${words} ` });
    const select = element(label, "select", { autocomplete: "off" });
    select.dataset.setting = key;
    for (const [value, text] of options) element(select, "option", { value, textContent: text });
    select.addEventListener("change", () => change(key, Number(select.value)));
  }

  function change(key, value) {
    waiting = false;
    trouble("");
    if (key === "rate") { // goes on from where the net stands
      settings.rate = value;
      return give("rate", value);
    }
    if (key === "count") settings.noise = value === 0;
    settings[key] = value || (key === "count" ? all : 0);
    chosen = null;
    describe();
    if (order) order("start", { ...settings }); else give();
  }

  part("train").addEventListener("click", () => {
    waiting = false;
    if (!playing) return go(chosen && frame && frame.step === 0 ? presets[chosen][1] : 20000);
    playing = false;
    give("pause");
    buttons();
  });
  part("step").addEventListener("click", () => { waiting = false; trouble(""); give("step"); });
  part("reset").addEventListener("click", () => {
    waiting = false;
    trouble("");
    if (order) order("start", { ...settings }); else give();
  });
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

  const groups = ["Taught", "New digits", "Noise", "Yours"].map(
    (title) => group(part(title === "Yours" ? "own" : "groups"), title, data.shape));
  const charts = [0, 1, 2].map(() => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 262 164");
    svg.setAttribute("role", "img");
    return part("charts").appendChild(svg);
  });
  begin(Object.keys(presets)[0]);
  buttons();
  repeat();
  part("controls").hidden = false;
  part("plain").hidden = true;
  root.tools = trainer();

  function warm() { // only when the reader comes near; the page's cached picture stands until then
    if (order !== null) return;
    give("again", 2 ** Number(part("again").value));
    give("train", presets[chosen][1]);
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
