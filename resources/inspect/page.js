"use strict";
// The first part has no page: it can be run anywhere. Numbers stay what they are in the maps, float32.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PLACES = new Uint8Array(128);
for (let i = 0; i < 64; i++) PLACES[ALPHABET.charCodeAt(i)] = i;

function bytesOf(base64) {
  let length = base64.length;
  while (length && base64[length - 1] === "=") length--;
  const bytes = new Uint8Array((length * 3) >> 2);
  for (let i = 0, at = 0; i < length; i += 4) {
    const a = PLACES[base64.charCodeAt(i)], b = PLACES[base64.charCodeAt(i + 1)];
    const c = i + 2 < length ? PLACES[base64.charCodeAt(i + 2)] : 0;
    const d = i + 3 < length ? PLACES[base64.charCodeAt(i + 3)] : 0;
    bytes[at++] = (a << 2) | (b >> 4);
    if (at < bytes.length) bytes[at++] = ((b & 15) << 4) | (c >> 2);
    if (at < bytes.length) bytes[at++] = ((c & 3) << 6) | d;
  }
  return bytes;
}

function floatsOf(base64) {
  return new Float32Array(bytesOf(base64).buffer);
}

function differenceOf(before, after) {
  const values = new Float32Array(after.length);
  for (let i = 0; i < values.length; i++) values[i] = after[i] - before[i];
  return values;
}

// The shortest decimal that reads back as the same float32.
function numberText(value) {
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

function largestOf(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

function columnMeans(values, n) {
  const means = new Float64Array(n), rows = values.length / n;
  for (let i = 0; i < values.length; i++) means[i % n] += values[i] / rows;
  return means;
}

// 256 colours between the stops, as 0xAABBGGRR: the memory of a canvas.
function coloursOf(stops) {
  const table = new Uint32Array(256);
  const parts = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  for (let i = 0; i < 256; i++) {
    const at = Math.min((i / 255) * (parts.length - 1), parts.length - 1), low = Math.min(Math.floor(at), parts.length - 2);
    const mixed = [0, 1, 2].map((c) => Math.round(parts[low][c] + (parts[low + 1][c] - parts[low][c]) * (at - low)));
    table[i] = (255 << 24 | mixed[2] << 16 | mixed[1] << 8 | mixed[0]) >>> 0;
  }
  return table;
}

// The place of a value in the colours, 0 to 255; of a difference 127.5 is none.
function shade(value, limit, gamma, signed) {
  const share = Math.min(Math.abs(value) / (limit || 1), 1);
  const lifted = gamma === 1 ? share : Math.pow(share, gamma);
  return Math.round(signed ? 127.5 + (value < 0 ? -127.5 : 127.5) * lifted : 255 * lifted);
}

function captionOf(look, state, layer, head) {
  const parts = [look.subject, `${look.kind}layer ${layer + 1} of ${look.n_layers}, head ${head + 1} of ${look.n_heads}`];
  if (look.states.length > 1 || state === "before") parts.push(look.state_words[state]);
  parts.push(look.normalisation[state]);
  parts.push(look.axes);
  if (!look.verified) parts.unshift("NOT VERIFIED");
  return parts.join(" · ");
}

// The second part draws.

function start() {
  const look = JSON.parse(document.getElementById("look").textContent);
  const keys = look.tokens, queries = look.queries.length ? look.queries : keys, isCross = queries !== keys;
  const [high, wide] = look.sides, kept = new Map();
  const find = (id) => document.getElementById(id);
  const shown = { state: look.state, layer: look.head[0], head: look.head[1], perHead: look.per_head, gamma: look.gamma,
                  cell: [-1, -1], locked: look.cell[0] };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let colours = {}, ink = {};
  const states = look.states.length > 1 ? [...look.states, "difference"] : look.states;

  function take(state, layer, head) {
    const name = `${state}-${layer}-${head}`, held = find(name);
    if (!held) return null;
    if (!kept.has(name)) {
      if (kept.size > 24) kept.delete(kept.keys().next().value);
      kept.set(name, floatsOf(held.textContent.trim()));
    }
    return kept.get(name);
  }

  function valuesOf(state, layer, head) {
    if (state !== "difference") return take(state, layer, head);
    const before = take("before", layer, head), after = take("after", layer, head);
    return before && after ? differenceOf(before, after) : null;
  }

  function readColours() {
    const theme = dark.matches ? look.themes.dark : look.themes.light;
    colours = { plain: coloursOf(theme.attention), signed: coloursOf(theme.difference) };
    ink = theme;
  }

  const inks = () => (shown.state === "difference" ? colours.signed : colours.plain);
  const hex = (colour) => "#" + [0, 8, 16].map((by) => ((colour >>> by) & 255).toString(16).padStart(2, "0")).join("");

  // --- all heads: one canvas, thumbnails from bytes -------------------------------------------------------------
  const grid = find("grid"), gap = 3, left = 26, top = 18;
  const thumbnails = {};
  for (const state of states) thumbnails[state] = bytesOf(find(`thumbnails-${state}`).textContent.trim());

  function cellOf() {
    const room = Math.max(120, grid.parentElement.clientWidth - left - 2);
    return Math.max(10, Math.min(84, Math.floor(room / look.n_heads)));
  }

  function drawGrid() {
    const cell = cellOf(), ratio = window.devicePixelRatio || 1, context = grid.getContext("2d");
    const width = left + cell * look.n_heads, height = top + cell * look.n_layers;
    grid.width = width * ratio; grid.height = height * ratio;
    grid.style.width = width + "px"; grid.style.height = height + "px";
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    const one = document.createElement("canvas"); one.width = wide; one.height = high;
    const bytes = thumbnails[shown.state], signed = shown.state === "difference", table = inks();
    const picture = one.getContext("2d").createImageData(wide, high), pixels = new Uint32Array(picture.data.buffer);
    context.fillStyle = ink.muted; context.font = "11px system-ui, sans-serif"; context.textBaseline = "middle";
    const stride = cell >= 18 ? 1 : 4;
    for (let layer = 0; layer < look.n_layers; layer++) {
      context.textAlign = "right";
      if (layer % stride === 0) context.fillText(layer + 1, left - 6, top + (layer + 0.5) * cell);
      for (let head = 0; head < look.n_heads; head++) {
        context.textAlign = "center";
        if (!layer && head % stride === 0) context.fillText(head + 1, left + (head + 0.5) * cell, top / 2);
        const flat = layer * look.n_heads + head, limit = look.limits[shown.state][flat];
        for (let i = 0; i < high * wide; i++) {
          const byte = bytes[flat * high * wide + i], share = signed ? (byte - 128) / 127 : byte / 255;
          pixels[i] = table[shade(share * limit, shown.perHead ? limit : 1, shown.gamma, signed)];
        }
        one.getContext("2d").putImageData(picture, 0, 0);
        context.drawImage(one, left + head * cell, top + layer * cell, cell - gap, cell - gap);
        if (layer === shown.layer && head === shown.head) {
          context.strokeStyle = ink.accent; context.lineWidth = 2;
          context.strokeRect(left + head * cell - 1, top + layer * cell - 1, cell - gap + 2, cell - gap + 2);
        }
      }
    }
  }

  function headAt(event) {
    const box = grid.getBoundingClientRect(), cell = cellOf();
    const head = Math.floor((event.clientX - box.left - left) / cell), layer = Math.floor((event.clientY - box.top - top) / cell);
    return layer >= 0 && layer < look.n_layers && head >= 0 && head < look.n_heads ? [layer, head] : null;
  }

  function choose(layer, head) {
    shown.layer = Math.max(0, Math.min(look.n_layers - 1, layer));
    shown.head = Math.max(0, Math.min(look.n_heads - 1, head));
    draw();
  }

  // --- one head -------------------------------------------------------------------------------------------------
  const matrix = find("matrix"), over = find("over");
  let frame = { left: 0, top: 0, cell: 1, values: null, rows: 0, columns: 0 };

  function drawMatrix() {
    const values = valuesOf(shown.state, shown.layer, shown.head), context = matrix.getContext("2d");
    const flat = shown.layer * look.n_heads + shown.head, signed = shown.state === "difference";
    context.font = "12px system-ui, sans-serif";
    const [left, top] = [queries, keys].map((tokens) => widestOf(context, tokens) + 14);
    const rows = values ? queries.length : high, columns = values ? keys.length : wide;
    const room = Math.max(160, matrix.parentElement.clientWidth - left - 6);
    const cell = Math.max(1, Math.min(26, Math.floor((values ? room : Math.min(room, 512)) / columns)));
    const width = cell * columns, height = cell * rows, ratio = window.devicePixelRatio || 1;
    const limit = shown.perHead ? (values ? largestOf(values) : look.limits[shown.state][flat]) || 1 : 1;
    frame = { left, top, cell, values, rows, columns };
    for (const canvas of [matrix, over]) {
      canvas.width = (left + width + 2) * ratio; canvas.height = (top + height + 2) * ratio;
      canvas.style.width = left + width + 2 + "px"; canvas.style.height = top + height + 2 + "px";
    }
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    const one = document.createElement("canvas"); one.width = columns; one.height = rows;
    const picture = one.getContext("2d").createImageData(columns, rows), pixels = new Uint32Array(picture.data.buffer);
    const bytes = thumbnails[shown.state], table = inks();
    for (let i = 0; i < rows * columns; i++) {
      const byte = bytes[flat * high * wide + i];
      const value = values ? values[i] : (signed ? (byte - 128) / 127 : byte / 255) * look.limits[shown.state][flat];
      pixels[i] = table[shade(value, limit, shown.gamma, signed)];
    }
    one.getContext("2d").putImageData(picture, 0, 0);
    context.drawImage(one, left, top, width, height);
    if (values) drawTokens(context);
    drawMarks();
    find("full").hidden = values !== null;
    find("bar").style.background = `linear-gradient(to right, ${[...table].filter((_, i) => i % 15 === 0).map(hex).join(",")})`;
    find("low").textContent = signed ? "−" + Number(limit.toPrecision(3)) : "0";
    find("high").textContent = (signed ? "+" : "") + Number(limit.toPrecision(3));
    find("scale").textContent = (shown.perHead ? "this head's own scale" : "the same scale for all heads") +
      (shown.gamma === 1 ? "" : `, γ ${shown.gamma}`);
    const caption = captionOf(look, shown.state, shown.layer, shown.head);
    find("caption").textContent = caption;
    find("head").textContent = `Layer ${shown.layer + 1} · Head ${shown.head + 1}`;
    matrix.setAttribute("aria-label", caption);
  }

  function widestOf(context, tokens) {
    return Math.min(130, Math.max(...tokens.map((token) => context.measureText(token).width)));
  }

  function drawTokens(context) {
    const { left, top, cell } = frame, stride = Math.max(1, Math.ceil(13 / cell));
    context.font = "12px system-ui, sans-serif"; context.fillStyle = ink.text; context.textBaseline = "middle";
    context.textAlign = "right";
    for (let i = 0; i < queries.length; i += stride) context.fillText(queries[i], left - 6, top + (i + 0.5) * cell, left - 10);
    context.textAlign = "left";
    for (let i = 0; i < keys.length; i += stride) {
      context.save();
      context.translate(left + (i + 0.5) * cell, top - 6); context.rotate(-Math.PI / 2);
      context.fillText(keys[i], 0, 0, top - 10);
      context.restore();
    }
  }

  function drawMarks() {
    const context = over.getContext("2d"), ratio = window.devicePixelRatio || 1, [query, key] = shown.cell;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, over.width, over.height);
    const { left, top, cell, rows, columns } = frame;
    context.strokeStyle = ink.text; context.lineWidth = 1;
    if (frame.values && query >= 0) {
      context.strokeRect(left - 0.5, top + query * cell - 0.5, columns * cell + 1, cell + 1);
      context.strokeRect(left + key * cell - 0.5, top - 0.5, cell + 1, rows * cell + 1);
    }
    if (frame.values && shown.locked >= 0) {
      context.strokeStyle = ink.accent; context.lineWidth = 2;
      context.strokeRect(left - 1, top + shown.locked * cell - 1, columns * cell + 2, cell + 2);
    }
  }

  function point(query, key) {
    const isInside = query >= 0 && query < queries.length && key >= 0 && key < keys.length;
    shown.cell = frame.values && isInside ? [query, key] : [-1, -1];
    drawMarks();
    const [row, column] = shown.cell;
    find("value").textContent = row < 0 ? find("value").dataset.idle
      : `${row + 1} “${queries[row]}” looks at ${column + 1} “${keys[column]}”: ${numberText(frame.values[row * keys.length + column])}`;
    drawStrip();
  }

  function cellAt(event) {
    const box = over.getBoundingClientRect();
    return [Math.floor((event.clientY - box.top - frame.top) / frame.cell), Math.floor((event.clientX - box.left - frame.left) / frame.cell)];
  }

  // --- the tokens -----------------------------------------------------------------------------------------------
  // Of one text the tokens that are looked at are those that look; of two, those that look have a strip of their own.
  const strip = find("strip"), asking = isCross ? find("asking") : strip;
  asking.hidden = false;

  function fillStrip(strip, tokens, joined, looks) {
    tokens.forEach((token, i) => {
      const item = document.createElement(looks ? "button" : "span");
      item.textContent = token; item.title = `token ${i + 1}`;
      if (i && joined[i] !== null && joined[i] === joined[i - 1]) item.className = "joined";
      if (looks) item.onclick = () => { shown.locked = shown.locked === i ? -1 : i; drawMarks(); drawStrip(); };
      strip.append(item);
    });
  }

  fillStrip(strip, keys, look.word_ids, !isCross);
  if (isCross) {
    fillStrip(asking, queries, queries.map(() => null), true);
    strip.setAttribute("aria-label", "Tokens of the encoder, which are looked at");
  }

  function drawStrip() {
    const row = shown.cell[0] >= 0 ? shown.cell[0] : shown.locked, values = frame.values, n = keys.length;
    const weights = !values ? new Float32Array(n) : row >= 0 ? values.subarray(row * n, row * n + n) : columnMeans(values, n);
    const most = largestOf(weights), table = inks(), signed = shown.state === "difference";
    [...strip.children].forEach((item, i) => {
      const colour = table[shade(weights[i], most, 1, signed)];
      item.style.background = hex(colour);
      const light = 0.3 * (colour & 255) + 0.59 * ((colour >>> 8) & 255) + 0.11 * ((colour >>> 16) & 255);
      item.style.color = light > 140 ? "#14161b" : "#ffffff";
    });
    [...asking.children].forEach((item, i) => item.setAttribute("aria-pressed", i === shown.locked));
    find("tint").textContent = !values ? "" : row >= 0 ? `Tint: where “${queries[row]}” looks`
      : signed ? "Tint: looked at more or less" : "Tint: what this head looks at";
  }

  function draw() {
    drawGrid(); drawMatrix(); point(-1, -1);
    for (const button of document.querySelectorAll("[data-state]")) {
      button.setAttribute("aria-pressed", button.dataset.state === shown.state);
    }
    find("per-head").checked = shown.perHead; find("lifted").checked = shown.gamma !== 1;
  }

  for (const state of states.length > 1 ? states : []) {
    const button = document.createElement("button");
    button.textContent = look.state_titles[state]; button.dataset.state = state;
    button.onclick = () => { shown.state = state; draw(); };
    find("states").append(button);
  }
  grid.onclick = (event) => { const found = headAt(event); if (found) choose(...found); };
  grid.onmousemove = (event) => {
    const found = headAt(event);
    grid.title = found ? `Layer ${found[0] + 1} · Head ${found[1] + 1}` : "";
    grid.style.cursor = found ? "pointer" : "default";
  };
  grid.onkeydown = (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) { event.preventDefault(); choose(shown.layer + step[0], shown.head + step[1]); }
  };
  over.onmousemove = (event) => point(...cellAt(event));
  over.onmouseleave = () => point(-1, -1);
  over.onclick = (event) => { const [query] = cellAt(event); if (query >= 0 && query < queries.length) { shown.locked = shown.locked === query ? -1 : query; drawMarks(); } };
  find("per-head").onchange = (event) => { shown.perHead = event.target.checked; draw(); };
  find("lifted").onchange = (event) => { shown.gamma = event.target.checked ? 0.4 : 1; draw(); };
  dark.onchange = () => { readColours(); draw(); };
  window.onresize = draw;
  readColours();
  draw();
}

if (typeof document !== "undefined") start();
