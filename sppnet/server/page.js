"use strict";
const LOWEST = { score_threshold: -1 }, LOWEST_PROBABILITY = { threshold: 0.01 };  // of the request; the slider filters the result
const MOST_PHOTOS = 100;
const PALETTE = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];  // Okabe and Ito
const STAGES = [["wait", "waiting in the queue"], ["decode", "decoding the file"], ["load", "loading the model"], ["windows", "searching proposals"], ["detect", "convolutions and scores"]];
const $ = id => document.getElementById(id);
const canvas = $("canvas");
let models = { models: [] }, photos = [], classes = [], current = null, request = null, marked = null, automatic = true;

const color = number => PALETTE[number % PALETTE.length];
const colorOf = d => color(classes.indexOf(d.class));  // of the class, in the order of appearance in all photos
const css = rgb => `rgb(${rgb.join(",")})`;
const card = () => models.models.find(m => m.name === $("model").value);
const thresholds = () => card()?.thresholds ?? null;  // of each class, for models that state probabilities
const confidence = d => d.probability ?? d.score;
const threshold = d => thresholds() && automatic ? thresholds()[d.label] : Number($("threshold").value);
const shownIn = photo => photo?.result ? photo.result.detections.filter(d => confidence(d) >= threshold(d)) : [];
const shown = () => shownIn(current);

function ink(rgb) {  // black or white, whichever has more contrast
  const [r, g, b] = rgb.map(c => (c / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function swatch(background) {
  const made = element("span", "", "swatch");
  made.style.background = background;
  return made;
}

function fail(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

// ---- requests

async function load() {
  try {
    const reply = await fetch("models");
    if (!reply.ok) throw new Error((await reply.json()).detail);
    models = await reply.json();
  } catch (error) {
    return fail(`The server did not list its models: ${error.message}`);
  }
  $("model").replaceChildren(...models.models.map(m => Object.assign(element("option", m.name), { value: m.name })));
  $("model").value = models.default;
  $("limits").textContent = `up to ${models.max_megabytes} MB and ${models.max_megapixels} megapixels; sent to this server only, not stored`;
  describe();
}

function describe() {
  const model = card();
  if (!model) return;
  const accuracy = model.map === null ? "" : `${(100 * model.map).toFixed(1)} mAP on VOC 2007`;
  const speed = model.seconds === null ? "" : `${model.seconds.toFixed(2)} s per photo`;
  $("card").textContent = [model.network, accuracy, speed].filter(Boolean).join(", ");
  $("count").textContent = `${model.classes.length} classes`;
  $("classes").textContent = model.classes.join(", ");
  scale();
}

function scale() {  // the slider's: probabilities, or margins for models that state none
  const limits = thresholds();
  automatic = true;
  $("threshold-name").textContent = limits ? "Lowest probability" : "Score threshold";
  $("confidence").textContent = limits ? "probability" : "score";
  const middle = limits ? limits.reduce((sum, p) => sum + p, 0) / limits.length : -0.5;
  Object.assign($("threshold"), limits ? { min: 0.01, max: 1, step: 0.01, value: middle } : { min: -1, max: 1, step: 0.05, value: middle });
  filter();
}

async function use(files) {
  const large = files.find(f => f.size > models.max_megabytes * 1e6);
  const added = files.filter(f => f.size <= models.max_megabytes * 1e6).slice(-MOST_PHOTOS).map(f => ({ file: f, picture: null, result: null, failure: "" }));
  photos = [...photos, ...added].slice(-MOST_PHOTOS);
  if (added.length) choose(added[0]);
  if (large) fail(`${large.name} has ${(large.size / 1e6).toFixed(1)} MB; at most ${models.max_megabytes} MB are accepted. Resize the photo.`);
  for (const photo of added) await decode(photo);
  await detect();
}

async function decode(photo) {
  const loading = new Image();
  loading.src = URL.createObjectURL(photo.file);
  await loading.decode().then(() => { photo.picture = loading; }, () => {});
  URL.revokeObjectURL(loading.src);
  if (photo === current) draw();
  strip();
}

function choose(photo) {
  current = photo;
  marked = null;
  fail("");
  show();
}

async function detect() {  // in all photos that have no result yet, the chosen one first
  request?.abort();
  const mine = request = new AbortController();
  while (!mine.signal.aborted) {
    const waiting = photos.filter(p => !p.result && !p.failure);
    if (!waiting.length) return;
    await ask(waiting.includes(current) ? current : waiting[0], mine.signal);
  }
}

async function ask(photo, signal) {
  const form = new FormData();
  form.append("photo", photo.file);
  try {
    const query = new URLSearchParams({ model: $("model").value, ...(thresholds() ? LOWEST_PROBABILITY : LOWEST) });
    const reply = await fetch(`detect?${query}`, { method: "POST", body: form, signal });
    const body = await reply.json();
    if (!reply.ok) throw new Error(body.detail);
    photo.result = body;
    classes = [...new Set([...classes, ...body.detections.map(d => d.class)])];
  } catch (error) {
    if (signal.aborted) return;
    photo.failure = error instanceof TypeError ? "The server does not answer. Is it still running?" : `${photo.file.name}: ${error.message}`;
  }
  if (photo === current) show(); else strip();
}

// ---- results

function show() {
  const { result, failure } = current;
  $("stage").classList.toggle("busy", !result && !failure);
  $("found").hidden = $("more").hidden = !result;
  if (failure) fail(failure);
  $("status").textContent = failure ? "No result" : `Searching ${current.file.name} …`;
  if (result) {
    const best = Math.max(...result.detections.map(confidence), 0);
    if (!thresholds()) $("threshold").max = Math.max(1, Number($("threshold").max), Math.ceil(best * 10) / 10);
    times();
  }
  filter();
}

function filter() {
  const own = thresholds() !== null && automatic;
  $("threshold-value").textContent = own ? "the best of each class" : Number($("threshold").value).toFixed(2);
  $("automatic").hidden = own || !thresholds();
  if (!current) return;
  strip();
  if (!current.result) return draw();
  const rows = shown(), result = current.result;
  const counts = new Map();
  for (const d of rows) counts.set(d.class, (counts.get(d.class) ?? 0) + 1);
  const summary = [...counts].map(([name, n]) => `${n} ${name}`).join(", ") || "nothing";
  const hidden = result.detections.length - rows.length;
  $("status").textContent = `${rows.length} ${rows.length === 1 ? "object" : "objects"}${hidden ? `; ${hidden} more below the threshold` : ""}`;
  canvas.setAttribute("aria-label", `${current.file.name}: ${summary}`);
  $("detections").replaceChildren(...rows.map(row));
  if (rows.length) $("detections").firstChild.tabIndex = 0;
  const limit = thresholds() ? { threshold: own ? null : Number($("threshold").value) } : { score_threshold: Number($("threshold").value) };
  const text = JSON.stringify({ ...result, ...limit, detections: rows }, null, 1);
  $("json").textContent = text.replace(/\[\s+([-+\d.e,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, " ")}]`);  // one box per line
  draw();
}

function strip() {  // small pictures to choose from, with the number of objects in each
  $("strip").hidden = photos.length < 2;
  while ($("strip").children.length > photos.length) $("strip").lastChild.remove();
  photos.forEach((photo, i) => {
    const button = $("strip").children[i] ?? $("strip").appendChild(thumbnail());
    const [small, count] = button.children;
    const number = photo.failure ? "!" : photo.result ? shownIn(photo).length : "…";
    if (button.photo !== photo || button.pictured !== photo.picture) {
      const pen = small.getContext("2d"), picture = photo.picture;
      pen.clearRect(0, 0, small.width, small.height);
      if (picture) {
        const scale = Math.max(small.width / picture.naturalWidth, small.height / picture.naturalHeight);
        const [w, h] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
        pen.drawImage(picture, (small.width - w) / 2, (small.height - h) / 2, w, h);
      }
      Object.assign(button, { photo, pictured: photo.picture });
    }
    count.textContent = number;
    button.setAttribute("aria-current", photo === current);
    button.setAttribute("aria-label", `${photo.file.name}: ${photo.failure ? "no result" : photo.result ? `${number} objects` : "waiting"}`);
  });
}

function thumbnail() {
  const button = element("button"), small = element("canvas");
  Object.assign(small, { width: 176, height: 128 });
  button.type = "button";
  button.append(small, element("span"));
  button.addEventListener("click", () => choose(button.photo));
  return button;
}

function row(d) {
  const made = element("tr");
  const name = element("th");
  name.scope = "row";
  name.append(swatch(css(colorOf(d))), d.class);
  const [x1, y1, x2, y2] = d.box.map(Math.round);
  made.append(name, element("td", `${x1}, ${y1} – ${x2}, ${y2}`, "box"), element("td", confidence(d).toFixed(2), "num"));
  made.tabIndex = -1;  // reached with the arrow keys
  for (const [event, mark] of [["pointerenter", d], ["focus", d], ["pointerleave", null], ["blur", null]]) {
    made.addEventListener(event, () => { marked = mark; draw(); });
  }
  return made;
}

function times() {
  const seconds = current.result.seconds;
  const stages = STAGES.map(([stage, label], i) => ({ label, color: css(color(i)), seconds: seconds[stage], always: !["wait", "load"].includes(stage) }))
    .filter(s => s.always || s.seconds >= 0.005);
  $("track").replaceChildren(...stages.map(s => {
    const part = element("span");
    part.style.width = `${100 * s.seconds / (seconds.total || 1)}%`;
    part.style.background = s.color;
    return part;
  }));
  const lines = stages.flatMap(s => {
    const term = element("dt");
    term.append(swatch(s.color), s.label);
    return [term, element("dd", s.seconds.toFixed(2))];
  });
  $("times").replaceChildren(...lines, element("dt", "total", "total"), element("dd", seconds.total.toFixed(2), "total"));
  $("total").textContent = `${seconds.total.toFixed(2)} s`;
}

// ---- drawing

function sizeOf({ result, picture }) {
  return [result?.width ?? picture?.naturalWidth, result?.height ?? picture?.naturalHeight];
}

function draw() {
  const [width, height] = current ? sizeOf(current) : [];
  canvas.hidden = !width;
  $("drop").classList.toggle("small", !!width);
  if (!width) return;
  const scale = Math.min($("stage").clientWidth / width, 0.72 * innerHeight / height, 2);
  const dense = devicePixelRatio || 1;
  const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  canvas.width = Math.round(size.width * dense);
  canvas.height = Math.round(size.height * dense);
  canvas.style.width = `${size.width}px`;
  canvas.style.height = `${size.height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  paint(pen, size, scale, marked, size.width < 500 ? 11 : 13);
}

function paint(pen, size, scale, marked, letters) {  // the chosen photo with its boxes
  if (current.picture) pen.drawImage(current.picture, 0, 0, size.width, size.height);
  else drawPlaceholder(pen, size);
  const marks = shown().map(d => ({ ...d, box: d.box.map((v, i) => (v + (i > 1 ? 1 : 0)) * scale), faint: marked && marked !== d, color: colorOf(d) }));
  for (const mark of [...marks].reverse()) drawBox(pen, mark, letters < 13 ? 2 : Math.round(letters / 4.3));
  pen.font = `600 ${letters}px system-ui, sans-serif`;
  for (const placed of placeLabels(pen, marks.filter(m => !m.faint), size, letters + 6).reverse()) drawLabel(pen, placed, letters);
}

function drawPlaceholder(pen, size) {
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, size.width, size.height);
  pen.fillStyle = "#000";
  pen.font = "14px system-ui, sans-serif";
  pen.fillText("this browser cannot display the photo", 8, size.height - 10, size.width - 16);
}

function drawBox(pen, { box: [x1, y1, x2, y2], color, faint }, line) {
  pen.globalAlpha = faint ? 0.25 : 1;
  for (const [width, style] of [[line + 2, ink(color)], [line, css(color)]]) {
    pen.lineWidth = width;
    pen.strokeStyle = style;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  pen.globalAlpha = 1;
}

function placeLabels(pen, marks, size, height) {  // without overlaps where possible, the best first
  const taken = [];
  for (const mark of marks) {
    const text = `${mark.class} ${confidence(mark).toFixed(2)}`;
    const width = Math.min(pen.measureText(text).width + 8, size.width);
    const overlaps = ([x, y]) => taken.some(t => x < t.x + t.width && t.x < x + width && y < t.y + height && t.y < y + height);
    const all = labelPlaces(mark.box, width, height, size);
    const [x, y] = all.find(p => !overlaps(p)) ?? all[0];
    taken.push({ x, y, width, height, text, color: mark.color });
  }
  return taken;
}

function drawLabel(pen, { x, y, width, height, text, color }, letters) {
  pen.fillStyle = css(color);
  pen.fillRect(x, y, width, height);
  pen.lineWidth = 1;
  pen.strokeStyle = pen.fillStyle = ink(color);
  pen.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  pen.fillText(text, x + 4, y + letters + 1, width - 8);
}

function labelPlaces([x1, y1, x2, y2], width, height, size) {  // within the photo, preferred ones first
  const keep = (v, most) => Math.max(0, Math.min(v, most));
  const found = [];
  for (const y of [y1 - height, y1, y2, y2 - height]) {
    if (y < 0 || y > size.height - height) continue;
    for (const x of [x1, x2 - width]) found.push([keep(x, size.width - width), y]);
  }
  return found.length ? found : [[keep(x1, size.width - width), keep(y1, size.height - height)]];
}

// ---- events

const filesOf = transfer => [...(transfer?.files ?? [])];
addEventListener("dragover", event => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const dropped = filesOf(event.dataTransfer);
  if (dropped.length) use(dropped); else fail("That is not a file; drop a photo from a folder.");
});
addEventListener("paste", event => { const pasted = filesOf(event.clipboardData); if (pasted.length) use(pasted); });
$("file").addEventListener("change", event => { const chosen = filesOf(event.target); event.target.value = ""; if (chosen.length) use(chosen); });
$("model").addEventListener("change", () => {
  describe();
  for (const photo of photos) Object.assign(photo, { result: null, failure: "" });
  if (current) { choose(current); detect(); }
});
$("threshold").addEventListener("input", () => { automatic = false; filter(); });
$("automatic").addEventListener("click", scale);
$("detections").addEventListener("keydown", event => {
  const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!next) return;
  event.preventDefault();
  event.target[next]?.focus();
});
$("copy").addEventListener("click", async event => {
  const button = event.target;
  await navigator.clipboard?.writeText($("json").textContent).then(() => { button.textContent = "Copied"; }, () => {});
  if (button.textContent === "Copy") { getSelection().selectAllChildren($("json")); button.textContent = "Selected"; }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});
function download(content, ending) {
  const link = element("a");
  link.href = URL.createObjectURL(content);
  link.download = `${current.file.name.replace(/\.[^.]*$/, "")}${ending}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

$("download").addEventListener("click", () => download(new Blob([$("json").textContent], { type: "application/json" }), ".json"));
$("save").addEventListener("click", () => {  // in the photo's own size
  const [width, height] = sizeOf(current), whole = Object.assign(element("canvas"), { width, height });
  paint(whole.getContext("2d"), { width, height }, 1, null, Math.max(11, Math.round(Math.min(width, height) / 40)));
  whole.toBlob(content => download(content, "-detections.png"), "image/png");
});
let drawnWidth = 0;
new ResizeObserver(([stage]) => {
  if (stage.contentRect.width === drawnWidth) return;  // drawing changes the height only
  drawnWidth = stage.contentRect.width;
  requestAnimationFrame(draw);
}).observe($("stage"));
load();
