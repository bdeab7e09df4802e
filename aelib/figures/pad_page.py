"""What a latent pad puts on a page: one piece of HTML, and the script that runs the decoder."""

from __future__ import annotations

# Ids come from the pad's name. Until the script has run there is a picture and no dead control; the
# script looks for pads it has not woken yet. Weights travel as float16, and are added up in double.
# The pad itself is paper, like every figure of the book, so its points read on a dark page too.
PAGE = """\
<figure class="aelib-pad" id="{name}" style="margin:0;max-width:560px;color:inherit">
<style>html[data-theme="dark"] .text_html:has(> .aelib-pad) {{
 background: none !important; color: inherit !important; padding: 0 !important }}
.aelib-pad canvas:focus-visible {{ outline: 3px solid var(--pst-color-primary,#0072B2);
 outline-offset: 2px }}</style>
<div data-part="still">
<img src="{still}" alt="{alt}" width="{width}" height="{height}"
 style="display:block;max-width:100%;height:auto;margin:0;padding:0">
<p>Dragging needs JavaScript; this is what the decoder draws on an even lattice of codes.</p>
</div>
<div data-part="controls" hidden>
<div style="display:flex;flex-wrap:wrap;gap:.75rem;align-items:flex-start">
<canvas data-part="pad" width="640" height="640" tabindex="0" role="application"
 aria-roledescription="pad" aria-label="{label}" aria-describedby="{name}-how"
 style="flex:1 1 220px;min-width:0;max-width:340px;aspect-ratio:1;touch-action:none;\
cursor:crosshair;background:{paper};border:1px solid #8a8a8a;border-radius:4px"></canvas>
<div style="flex:0 1 160px;min-width:110px">
<canvas data-part="picture" width="{columns}" height="{rows}" role="img" aria-label="{alt}"
 style="width:100%;image-rendering:pixelated;border:1px solid #8a8a8a;border-radius:4px"></canvas>
<output data-part="where" aria-live="off"
 style="display:block;font-variant-numeric:tabular-nums"></output>
</div></div>
<p id="{name}-how" style="margin:.25rem 0;font-size:.9em">Drag the point, or use the arrow keys
 (with Shift for larger steps; Home for the middle).</p>
</div>
<span data-part="spoken" aria-live="polite" style="position:absolute;width:1px;height:1px;\
overflow:hidden;clip-path:inset(50%);white-space:nowrap"></span>
{caption}<script>
(function () {{
  var made = {made};
  function bytes(text) {{
    var raw = atob(text), out = new Uint8Array(raw.length);
    for (var i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }}
  function halves(text) {{  // float16 to float32
    var view = new DataView(bytes(text).buffer), out = new Float32Array(view.byteLength / 2);
    for (var i = 0; i < out.length; i++) {{
      var h = view.getUint16(2 * i, true), sign = h & 0x8000 ? -1 : 1;
      var power = (h >> 10) & 31, rest = h & 1023;
      out[i] = sign * (power ? (1 + rest / 1024) * Math.pow(2, power - 15) : rest / 16777216);
    }}
    return out;
  }}
  function erf(x) {{  // Abramowitz and Stegun 7.1.26, within 2e-7
    var t = 1 / (1 + 0.3275911 * Math.abs(x));
    var y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
      + 0.254829592) * t * Math.exp(-x * x);
    return x < 0 ? -y : y;
  }}
  var bends = {{
    relu: function (x) {{ return x > 0 ? x : 0; }},
    leaky: function (x, a) {{ return x > 0 ? x : a * x; }},
    elu: function (x, a) {{ return x > 0 ? x : a * Math.expm1(x); }},
    selu: function (x) {{
      return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x));
    }},
    gelu: function (x) {{ return x * (1 + erf(x / Math.SQRT2)) / 2; }},
    gelu_tanh: function (x) {{
      return x / 2 * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    }},
    silu: function (x) {{ return x / (1 + Math.exp(-x)); }},
    tanh: Math.tanh,
    sigmoid: function (x) {{ return 1 / (1 + Math.exp(-x)); }}
  }};
  var weights = halves(made.weights);
  function decode(code) {{
    var at = 0, x = code;
    made.layers.forEach(function (layer) {{
      var out, i, j;
      if (layer.to) {{
        out = new Float32Array(layer.to);
        for (i = 0; i < layer.to; i++) {{
          var sum = 0;
          for (j = 0; j < x.length; j++) sum += weights[at++] * x[j];
          out[i] = sum;
        }}
        if (layer.bias) for (i = 0; i < layer.to; i++) out[i] += weights[at++];
      }} else {{
        out = new Float32Array(x.length);
        for (i = 0; i < x.length; i++) out[i] = bends[layer.bend](x[i], layer.slope);
      }}
      x = out;
    }});
    return x;
  }}
  var spots = new Uint16Array(bytes(made.points).buffer), kinds = bytes(made.kinds);

  document.querySelectorAll('[id="{name}"]:not([data-awake])').forEach(function (root) {{
    root.setAttribute("data-awake", "");
    function part(name) {{ return root.querySelector('[data-part="' + name + '"]'); }}
    var pad = part("pad"), picture = part("picture");
    var where = part("where"), spoken = part("spoken");
    var pen = pad.getContext("2d"), ink = picture.getContext("2d");
    var pixels = ink.createImageData({columns}, {rows}), timer, asked = false;
    var point = [made.start[0], made.start[1]];  // shares of the square, from the lower left
    var under = document.createElement("canvas");
    under.width = under.height = pad.width;
    (function () {{
      var paper = under.getContext("2d"), size = pad.width;
      paper.globalAlpha = 0.45;
      for (var i = 0; i < kinds.length; i++) {{
        paper.fillStyle = made.colours[kinds[i] % made.colours.length];
        paper.beginPath();
        paper.arc(spots[2 * i] / 65535 * size, (1 - spots[2 * i + 1] / 65535) * size, 4, 0, 7);
        paper.fill();
      }}
      paper.globalAlpha = 1;
      paper.font = "bold 30px sans-serif";
      paper.textAlign = "center";
      paper.textBaseline = "middle";
      paper.lineWidth = 6;
      made.names.forEach(function (one, kind) {{
        var x = one.at[0] * size, y = (1 - one.at[1]) * size;
        paper.strokeStyle = "{paper}";
        paper.strokeText(one.name, x, y);
        paper.fillStyle = "{ink}";
        paper.fillText(one.name, x, y);
      }});
    }})();
    function nearest() {{
      var best = Infinity, kind = -1;
      for (var i = 0; i < kinds.length; i++) {{
        var dx = spots[2 * i] / 65535 - point[0], dy = spots[2 * i + 1] / 65535 - point[1];
        if (dx * dx + dy * dy < best) {{ best = dx * dx + dy * dy; kind = kinds[i]; }}
      }}
      return made.names.length ? "; the nearest training code is of " + made.names[kind].name : "";
    }}
    function draw() {{
      asked = false;
      var code = [made.corner[0] + made.side * point[0], made.corner[1] + made.side * point[1]];
      var out = decode(code), area = {rows} * {columns}, size = pad.width;
      for (var i = 0; i < area; i++) {{
        for (var c = 0; c < 3; c++) {{
          pixels.data[4 * i + c] = 255 * out[{channels} === 3 ? c * area + i : i];
        }}
        pixels.data[4 * i + 3] = 255;
      }}
      ink.putImageData(pixels, 0, 0);
      pen.clearRect(0, 0, size, size);
      pen.drawImage(under, 0, 0);
      pen.beginPath();
      pen.arc(point[0] * size, (1 - point[1]) * size, 15, 0, 7);
      pen.lineWidth = 9; pen.strokeStyle = "{paper}"; pen.stroke();
      pen.lineWidth = 5; pen.strokeStyle = "{ink}"; pen.stroke();
      where.textContent = "code (" + code.map(function (z) {{
        return z.toFixed(2).replace("-", "\\u2212");
      }}).join(", ") + ")";
      clearTimeout(timer);  // a screen reader hears where the point stops, not the way there
      timer = setTimeout(function () {{
        var said = where.textContent + nearest();
        spoken.textContent = said;
        picture.setAttribute("aria-label", "What the decoder draws for " + said + ".");
      }}, 600);
    }}
    function move(x, y) {{
      point = [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
      if (!asked) {{ asked = true; requestAnimationFrame(draw); }}
    }}
    function follow(event) {{
      var box = pad.getBoundingClientRect();
      move((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height);
    }}
    pad.addEventListener("pointerdown", function (event) {{
      pad.setPointerCapture(event.pointerId);
      pad.focus({{ preventScroll: true }});
      follow(event);
    }});
    pad.addEventListener("pointermove", function (event) {{
      if (pad.hasPointerCapture(event.pointerId)) follow(event);
    }});
    pad.addEventListener("keydown", function (event) {{
      var step = event.shiftKey ? 0.1 : 0.02;
      var way = {{ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }};
      if (event.key === "Home") move(0.5, 0.5);
      else if (way[event.key]) {{
        move(point[0] + step * way[event.key][0], point[1] + step * way[event.key][1]);
      }} else return;
      event.preventDefault();
    }});
    root.decode = decode;
    part("controls").hidden = false;
    part("still").hidden = true;
    draw();
  }});
}})();
</script></figure>"""
