// Puts the parts together: a video, sentences, a job, answers.

import * as api from "./api.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { addByHand, colourOf, confidenceOf, isEdited, spansOf } from "./tube.js";

const $ = (id) => document.getElementById(id);
// ``shown`` ends when another video takes the place: what comes later about the former one is nobody's any more.
const state = { video: null, job: null, results: [], chosen: 0, limit: 0, limits: [], shown: new AbortController() };

const player = new Player($("video"), $("overlay"), { onTime: showTime, onEdit: showResults });
const timeline = new Timeline($("timeline"), {
  onSeek: (time) => player.seek(time),
  onChoose: (index) => choose(index),
  onEdit: showResults,
});

// --- the video

async function openFile(file) {
  if (state.limit && file.size > state.limit) {
    return complain(`${file.name} has ${megabytes(file.size)}; at most ${megabytes(state.limit)} can be sent`);
  }
  await guard(async () => {
    forget();
    showVideo(file);
    const { signal } = state.shown;
    try {
      state.video = await api.upload(file, (share) => tell("sending the video", share), signal);
    } catch (problem) {
      // Nothing can be asked about it.
      if (signal.aborted) return;
      another();
      throw problem;
    }
    ready();
  });
}

async function openSample(sample) {
  forget();
  const { signal } = state.shown;
  await guard(async () => {
    tell("drawing the sample");
    const { stored, file } = await api.openSample(sample.name);
    if (signal.aborted) return;
    showVideo(file);
    state.video = stored;
    $("queries").value = stored.queries.join("\n");
    ready();
  }, signal);
}

function forget() {
  state.shown.abort();
  if (state.job) guard(() => api.cancel(state.job), state.shown.signal);
  Object.assign(state, { video: null, job: null, results: [], chosen: 0, shown: new AbortController() });
  $("find").disabled = true;
  $("cancel").hidden = true;
  tell("");
}

function showVideo(file) {
  if (player.video.src) URL.revokeObjectURL(player.video.src);
  $("unplayable").hidden = true;
  player.open(URL.createObjectURL(file));
  $("drop").hidden = true;
  for (const id of ["player", "controls", "timeline"]) $(id).hidden = false;
  showResults();
}

function ready() {
  tell("");
  $("find").disabled = false;
  showResults();
  $("queries").focus();
}

function another() {
  player.video.pause();
  for (const id of ["player", "controls", "timeline", "unplayable"]) $(id).hidden = true;
  forget();
  $("drop").hidden = false;
  showResults();
}

// --- the answers

async function find() {
  const queries = $("queries").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!queries.length) return complain("write what you are looking for, one sentence a line");
  const { signal } = state.shown;
  await guard(async () => {
    $("find").disabled = true;
    tell("waiting");
    const job = await api.submit(state.video.id, queries);
    if (signal.aborted) return void (await api.cancel(job));
    state.job = job;
    $("cancel").hidden = false;
    const done = await api.follow(job, (change) => signal.aborted || tell(change.stage ?? change.status));
    if (signal.aborted) return;
    if (done.status === "cancelled") return tell("cancelled");
    if (done.status !== "done") throw new Error(done.error?.message ?? "the job failed");
    tell("");
    state.results = done.results;
    const first = state.results.findIndex((result) => result.status === "ok");
    choose(Math.max(first, 0), true);
  }, signal);
  if (signal.aborted) return;
  state.job = null;
  $("cancel").hidden = true;
  $("find").disabled = !state.video;
}

function choose(index, seek = false) {
  if (!state.results.length) return;
  state.chosen = (index + state.results.length) % state.results.length;
  showResults();
  const span = state.results[state.chosen].window;
  if (seek && span) player.seek(span.start);
}

function showResults() {
  const duration = state.video?.duration ?? player.video.duration;
  player.show(state.results, state.chosen);
  timeline.show(state.results, state.chosen, duration);
  timeline.at(player.time);
  $("results").replaceChildren(...state.results.map(card));
  $("exports").hidden = !state.results.length;
}

function card(result, index) {
  const found = result.status === "ok" && result.window;
  const item = element("li", "card");
  item.classList.toggle("chosen", index === state.chosen);
  item.classList.toggle("absent", !found);
  item.style.setProperty("--colour", colourOf(index));
  item.tabIndex = 0;
  item.setAttribute("aria-current", index === state.chosen ? "true" : "false");
  item.addEventListener("click", () => choose(index, true));
  item.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === item) choose(index, true);
  });
  item.append(element("h2", "", `${index + 1}. ${result.query}`));

  if (found) {
    const times = spansOf(result).map(({ start, end }) => `${start.toFixed(1)} s to ${end.toFixed(1)} s`);
    item.append(element("p", "when", times.join(", ")));
    const worth = confidenceOf(result);
    if (worth) {
      const meter = element("meter");
      Object.assign(meter, { min: 0, max: 1, value: worth.value });
      meter.setAttribute("aria-label", `${worth.name} ${worth.value.toFixed(2)}`);
      item.append(element("p", "quiet", `${worth.name} ${worth.value.toFixed(2)}`), meter);
    }
  } else {
    const line = result.status === "absent" ? "The model says that this does not happen." : "The model names no time for it.";
    item.append(element("p", "when", `Not found. ${line}`));
    const button = element("button", "", "It does: mark it here");
    button.type = "button";
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      addByHand(result, player.time);
      choose(index);
    });
    item.append(button);
  }
  if (isEdited(result)) item.append(element("span", "edited", "corrected by hand"));
  item.append(element("p", "quiet", `The model said: ${result.answer || "nothing"}`));
  // What holds for every answer is said once, below.
  const said = ["corrected by hand", ...state.limits];
  for (const note of result.notes ?? []) if (!said.includes(note)) item.append(element("p", "quiet", note));
  return item;
}

async function download() {
  await guard(async () => {
    const format = $("format").value;
    const chosen = format === "annotated" ? [state.results[state.chosen]] : state.results;
    tell("writing the file");
    const { name, blob } = await api.exportAs(state.video.id, format, chosen);
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    tell("");
  });
}

// --- what is said

function tell(what, share) {
  const line = what ? [element("p", "quiet", `${what} ...`)] : [];
  if (what) {
    const bar = element("progress");
    bar.setAttribute("aria-label", what);
    if (share !== undefined) Object.assign(bar, { max: 1, value: share });
    line.push(bar);
    $("problem").hidden = true;
  }
  if (what === "cancelled") line.splice(0, 2, element("p", "quiet", "cancelled"));
  $("progress").replaceChildren(...line);
}

function complain(message) {
  tell("");
  $("problem").textContent = message;
  $("problem").hidden = false;
}

// With a ``signal``, nothing is said once it has ended.
async function guard(work, signal = null) {
  try {
    await work();
  } catch (problem) {
    if (signal?.aborted) return;
    complain(problem instanceof TypeError ? "no answer; is the service running?" : problem.message);
  }
}

function showTime(time) {
  timeline.at(time);
  const whole = state.video?.duration ?? player.video.duration ?? 0;
  $("clock").textContent = `${time.toFixed(2)} / ${Number(whole || 0).toFixed(1)} s`;
}

function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

function megabytes(bytes) {
  return `${Math.ceil(bytes / 2 ** 20)} MB`;
}

// --- wiring

$("file").addEventListener("change", (event) => {
  if (event.target.files[0]) openFile(event.target.files[0]);
  // The same file can be chosen again.
  event.target.value = "";
});
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
  });
}
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
$("queries").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find();
});
$("cancel").addEventListener("click", () => guard(() => api.cancel(state.job)));
$("export").addEventListener("click", download);
$("another").addEventListener("click", another);
$("play").addEventListener("click", () => player.toggle());
$("back").addEventListener("click", () => player.step(-1));
$("forward").addEventListener("click", () => player.step(1));
for (const name of ["play", "pause"]) {
  $("video").addEventListener(name, () => {
    $("play").textContent = name === "play" ? "\u23f8" : "\u25b6";
    $("play").setAttribute("aria-label", name === "play" ? "Pause" : "Play");
  });
}
$("video").addEventListener("loadedmetadata", showResults);
$("video").addEventListener("error", () => {
  // Nothing is open while a person chooses.
  if (!$("drop").hidden) return;
  $("player").hidden = true;
  $("unplayable").hidden = false;
});

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, textarea, select, button") || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    " ": () => player.toggle(),
    ArrowLeft: () => (event.shiftKey ? player.seek(player.time - 1) : player.step(-1)),
    ArrowRight: () => (event.shiftKey ? player.seek(player.time + 1) : player.step(1)),
    j: () => choose(state.chosen + 1, true),
    k: () => choose(state.chosen - 1, true),
  };
  if (!keys[event.key] || $("player").hidden) return;
  event.preventDefault();
  keys[event.key]();
});

api.onTokenNeeded(
  () =>
    new Promise((resolve) => {
      $("token-dialog").showModal();
      $("token-dialog").addEventListener("close", () => resolve($("token").value), { once: true });
    }),
);

guard(async () => {
  const about = await api.about();
  state.limit = about.upload_bytes;
  $("model").textContent = `${about.checkpoint} (${about.method}, ${about.device}), version ${about.version}`;
  $("accepts").textContent = `mp4, mov, mkv, webm, avi or gif; at most ${megabytes(about.upload_bytes)} and ${about.video_seconds} s`;
  state.limits = about.limits_of_checkpoint;
  $("limits").hidden = !about.limits_of_checkpoint.length;
  $("limits").open = true;
  $("limit-list").replaceChildren(...about.limits_of_checkpoint.map((line) => element("li", "", line)));
  for (const sample of about.samples) {
    const button = element("button", "", sample.title);
    button.type = "button";
    button.addEventListener("click", () => openSample(sample));
    $("samples").append(button);
  }
});
