// The page: one session, one player, the controls between them.

import { address } from "./address.js";
import { Player } from "./player.js";
import { LiveSession } from "./session.js";
import { Microphone, Playback, RATE, decode, pcm16 } from "./sound.js";

const at = (id) => document.getElementById(id);
const player = new Player(at("picture"));
const COLOURS = ["#1d3b4f", "#e9e4da", "#31503f", "#5b2f45", "#00b140"];

const LARGEST_PICTURE = 1024; // pixels of a side
const FADED = 0.5; // frames after the cut in which the old sound has faded out

let session = null;
let microphone = null;
let playback = null;
let first = null; // the session's frame at second 0 of the stream, once it is known
let cut = null; // the session's frame from which on an interrupted avatar is silent
let fps = 25;
let avatars = [];

// What a test or a curious person may look at.
window.being = { player, get session() { return session; } };

function say(text) {
  at("message").hidden = !text;
  at("message").textContent = text || "";
}

function show(state) {
  at("stage").dataset.state = state;
  at("state").textContent = { connecting: "connecting", listening: "listening", speaking: "speaking", lost: "reconnecting" }[state];
  at("interrupt").disabled = state !== "speaking" && !playback;
}

function connect(avatar) {
  session?.close();
  quiet();
  show("connecting");
  first = cut = null;
  player.resume(-1);
  session = new LiveSession(avatar.id, { format: "mp4", background: chosenBackground(), sample_rate: RATE });
  const on = (type, handler) => session.addEventListener(type, (event) => handler(event.detail));
  on("ready", (ready) => {
    fps = ready.fps;
    first = cut = null;
    say("");
    try {
      player.open(ready.media_type);
    } catch (error) {
      say(error.message);
    }
    at("stage").style.setProperty("--ratio", ready.width / ready.height);
    offerFaces(ready.emotions);
    offerRefining(ready.refine);
    at("lookahead").textContent = `${Math.round(ready.look_ahead_ms)} ms`;
    show(ready.talking ? "speaking" : "listening");
  });
  on("started", (event) => { first = event.frame; settle(); });
  on("bytes", (bytes) => {
    player.append(bytes);
    playback?.send(); // a hidden tab's own timers come once a minute
  });
  on("speaking", () => show("speaking"));
  on("idle", () => show("listening"));
  on("interrupted", (event) => { cut = event.frame; settle(); });
  on("stats", (stats) => {
    at("fps").textContent = Math.min(fps, stats.fps).toFixed(0);
    at("latency").textContent = stats.latency_ms ? `${Math.round(stats.latency_ms.p95)} ms` : "–";
  });
  on("error", (event) => say(event.problem.detail));
  on("lost", ({ problem, wait }) => {
    show("lost");
    if (problem) say(`${problem.detail}${problem.status === 503 ? `; trying again in ${Math.round(wait / 1000)} s` : ""}`);
  });
}

// An interruption is over at a moment of the stream, which is known once the stream has started.
function settle() {
  if (first === null || cut === null) return;
  player.resume((cut - first + FADED) / fps);
  cut = null;
}

function setSound(on) {
  player.sound = on;
  at("sound").setAttribute("aria-pressed", String(on));
}

function speak(samples) {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  at("level").style.transform = `scaleX(${Math.min(1, peak)})`;
  session?.send(pcm16(samples));
}

function quiet() {
  microphone?.stop();
  microphone = null;
  playback?.stop();
  playback = null;
  at("microphone").setAttribute("aria-pressed", "false");
  at("level").style.transform = "scaleX(0)";
}

async function toggleMicrophone() {
  if (microphone) {
    quiet();
    session?.send({ type: "end" });
    return;
  }
  quiet();
  const mine = (microphone = new Microphone());
  try {
    await mine.start((samples) => microphone === mine && speak(samples));
    setSound(false); // one's own voice a moment later, through the speakers into the microphone again
    at("microphone").setAttribute("aria-pressed", "true");
  } catch (error) {
    quiet();
    say(`The microphone cannot be used: ${error.message}`);
  }
}

async function play(bytes) {
  setSound(true);
  quiet();
  try {
    const samples = await decode(bytes);
    playback = new Playback(samples, speak, () => {
      playback = null;
      at("level").style.transform = "scaleX(0)";
      session?.send({ type: "end" });
    });
    show(at("stage").dataset.state);
  } catch {
    say("That file is not sound this browser can read.");
  }
}

function interrupt() {
  quiet();
  player.hush();
  session?.interrupt();
  show("listening");
}

function chosenBackground() {
  return document.querySelector("#backgrounds input:checked")?.value || "plate";
}

function offerBackground(value, title, look) {
  const swatch = document.createElement("label");
  swatch.className = "swatch";
  swatch.title = title;
  swatch.style.setProperty("--look", look);
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "background", value, checked: value === "plate" });
  input.setAttribute("aria-label", title);
  input.addEventListener("change", () => session?.configure({ background: value }));
  swatch.append(input);
  at("picturefile").before(swatch);
  return input;
}

// What the avatar was trained to show beside speech; one that is not pressed plays as it was recorded.
function offerFaces(emotions) {
  const known = [...document.querySelectorAll("#faces button")];
  if (known.map((button) => button.value).join() !== emotions.join()) {
    known.forEach((button) => button.remove());
    for (const emotion of emotions) {
      const button = document.createElement("button");
      Object.assign(button, { value: emotion, textContent: emotion.replaceAll("_", " ") });
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
        showFaces();
      });
      at("faces").append(button);
    }
  }
  at("faces").hidden = !emotions.length;
  if (emotions.length) showFaces();
}

function showFaces() {
  const pressed = [...document.querySelectorAll('#faces button[aria-pressed="true"]')];
  session?.send({ type: "configure", emotion: Object.fromEntries(pressed.map((button) => [button.value, 1])) });
}

// Strength of the refiner; nothing to choose where the server or the avatar has none.
function offerRefining(strength) {
  at("refining").hidden = strength === null;
  if (strength === null) return;
  at("refine").value = strength;
  showStrength();
}

function showStrength() {
  at("refine-shown").textContent = `${Math.round(100 * at("refine").value)} %`;
}

function offerBackgrounds() {
  offerBackground("plate", "As recorded", "linear-gradient(135deg, #7c88a1, #2d3342)");
  for (const colour of COLOURS) offerBackground(colour, colour, `linear-gradient(${colour}, ${colour})`);
}

// A picture of the visitor's: made small here, kept by the server, one more swatch.
async function offerPicture(file) {
  try {
    const picture = await shrunk(file);
    const answer = await fetch(address("v1/backgrounds"), { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: picture });
    const made = await answer.json();
    if (!answer.ok) throw new Error(made.detail);
    document.querySelector(`#backgrounds input[value="${made.background}"]`)?.parentElement.remove();
    offerBackground(made.background, file.name, `url(${URL.createObjectURL(picture)})`).click();
    say("");
  } catch (error) {
    say(`That picture cannot be used: ${error.message}`);
  }
}

async function shrunk(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, LARGEST_PICTURE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

async function begin() {
  offerBackgrounds();
  const answer = await fetch(address("v1/avatars"));
  avatars = (await answer.json()).avatars.filter((avatar) => avatar.servable);
  if (!avatars.length) {
    say("There is no avatar to play. Train one: being fit");
    return;
  }
  for (const avatar of avatars) at("avatar").append(new Option(avatar.name, avatar.id));
  at("avatar").hidden = avatars.length < 2;
  at("avatar").addEventListener("change", () => connect(avatars[at("avatar").selectedIndex]));
  at("microphone").addEventListener("click", toggleMicrophone);
  at("sample").addEventListener("click", async () => play(await (await fetch(address("page/hello.wav"))).arrayBuffer()));
  at("file").addEventListener("click", () => at("chosen").click());
  at("chosen").addEventListener("change", async () => {
    const [file] = at("chosen").files;
    at("chosen").value = "";
    if (file) play(await file.arrayBuffer());
  });
  at("picture-chosen").addEventListener("change", () => {
    const [file] = at("picture-chosen").files;
    at("picture-chosen").value = "";
    if (file) offerPicture(file);
  });
  at("refine").addEventListener("input", () => {
    showStrength();
    session?.configure({ refine: Number(at("refine").value) });
  });
  at("interrupt").addEventListener("click", interrupt);
  at("sound").addEventListener("click", () => setSound(!player.sound));
  setInterval(() => { at("buffer").textContent = `${Math.max(0, Math.round(player.ahead * 1000))} ms`; }, 500);
  connect(avatars[0]);
}

begin();
