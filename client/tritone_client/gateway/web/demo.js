// The player is the ten lines of play(); what is around it is for this page.
const element = (id) => document.getElementById(id);
const say = (text) => { element("said").textContent = text; };
const headers = () => (element("key").value ? { Authorization: `Bearer ${element("key").value}` } : {});
const protocols = () => ["tritone", ...(element("key").value ? [`key.${element("key").value}`] : [])];

function play(codec, frames, context, done) {
  const socket = new WebSocket(`${base()}stream?codec=${codec}&format=float32`, protocols());
  let facts, at = 0;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => [{ frames }, { end: true }].forEach((message) => socket.send(JSON.stringify(message)));
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") { const said = JSON.parse(data); facts = said.start || facts; return done(said); }
    const wire = new Float32Array(data), count = wire.length / facts.channels;
    const buffer = context.createBuffer(facts.channels, count, facts.sample_rate);
    for (let c = 0; c < facts.channels; c++)
      buffer.getChannelData(c).forEach((_, i, to) => { to[i] = wire[i * facts.channels + c]; });
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    at = Math.max(at, context.currentTime + 0.05);
    source.start(at);
    at += buffer.duration;
  };
  socket.onclose = ({ code, reason }) => code === 1000 || done({ error: { message: reason || `closed: ${code}` } });
}

const base = () => new URL("v1/", location.href).href.replace(/^http/, "ws");

async function asked(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers() });
  const found = await answer.json();
  if (found.error) throw new Error(found.error.message);
  return found;
}

async function list() {
  const { codecs } = await asked("v1/codecs");
  element("codec").replaceChildren(...codecs.map(({ name }) => new Option(name)));
}

async function start() {
  const [file] = element("file").files, codec = element("codec").value;
  if (!codec) await list();
  if (!file) return say("Choose a file of speech first.");
  const context = new AudioContext();
  say("Encoding …");
  const query = `codec=${element("codec").value}`;
  const { tokens } = await asked(`v1/encode?${query}`, { method: "POST", body: file });
  const frames = tokens[0].map((_, frame) => tokens.map((book) => book[frame]));
  play(element("codec").value, frames, context, (said) => {
    if (said.start) say("Playing …");
    if (said.summary) say(`${said.summary.frames} frames, ${said.summary.seconds.toFixed(1)} s of sound.`);
    if (said.error) say(said.error.message);
  });
}

element("play").onclick = () => start().catch((error) => say(error.message));
list().catch((error) => say(error.message));
