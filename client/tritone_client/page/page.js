// What the page does in the browser. The live player: frames from a web socket, played without a gap.
window.tritoneLive = (() => {
  let socket = null, context = null, run = 0;

  const part = (name) => document.getElementById(`live-${name}`);
  const show = (name, text) => { part(name).textContent = text; };
  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

  function stop() {
    run += 1;  // what an earlier run still hears is no longer shown
    socket?.close();
    context?.close();
    socket = context = null;
  }

  function start(codec, recording) {
    stop();
    if (!recording) { show("said", "Send something through the codec first."); return; }
    const mine = run, begun = performance.now(), took = [];
    let facts = null, until = 0, late = 0, over = false;
    for (const name of ["first", "frame", "buffer", "streams", "late"]) show(name, "–");
    show("said", "Connecting …");
    context = new AudioContext();
    socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/live`);
    socket.binaryType = "arraybuffer";

    function told(message) {
      if (message.error) { over = true; show("said", message.error); return; }
      if (message.ended) { over = true; show("said", `Played ${took.length} frames.`); return; }
      if (message.sample_rate_hz) { facts = message; return; }
      took.push(message.took_ms);
      show("frame", `${median(took).toFixed(1)} ms (longest ${Math.max(...took).toFixed(1)}) of ${facts.frame_ms.toFixed(1)}`);
      show("streams", message.streams_live ?? "unknown");
      show("said", `Frame ${message.frame} of ${facts.frames}`);
    }

    function play(samples) {
      const now = context.currentTime, reserve = facts.frame_ms / 1000;
      if (!until) {
        until = now + reserve;
        show("first", `${(performance.now() - begun).toFixed(0)} ms, played ${facts.frame_ms.toFixed(0)} ms later`);
      } else if (until < now) {
        late += 1;
        until = now + reserve;
      }
      const length = samples.length / facts.channels;
      const buffer = context.createBuffer(facts.channels, length, facts.sample_rate_hz);
      for (let channel = 0; channel < facts.channels; channel += 1) {
        buffer.copyToChannel(samples.subarray(channel * length, (channel + 1) * length), channel);
      }
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(context.destination);
      source.start(until);
      until += buffer.duration;
      const ahead = 1000 * (until - now);
      show("buffer", `${ahead.toFixed(0)} ms`);
      part("level").value = ahead;
      show("late", late);
    }

    socket.onopen = () => socket.send(JSON.stringify({ codec, recording }));
    socket.onmessage = ({ data }) => {
      if (mine === run) typeof data === "string" ? told(JSON.parse(data)) : play(new Float32Array(data));
    };
    socket.onclose = () => {
      if (mine === run && !over) show("said", "The connection to the page was lost; is it still running?");
    };
  }

  function halt() {
    stop();
    show("said", "Stopped.");
  }

  return { start, halt };
})();

// A microphone that cannot be had: Gradio itself says nothing, or only that there is none.
document.addEventListener("click", async ({ target }) => {
  if (!target.closest?.('#recording [aria-label="Record audio"]')) return;
  const said = document.getElementById("microphone-said");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    stream.getTracks().forEach((track) => track.stop());
    said.textContent = "";
  } catch (error) {
    said.textContent = navigator.mediaDevices
      ? `The browser gave no microphone (${error.message}): allow it for this page, or upload a file.`
      : "Browsers give a microphone only to pages from this machine or over HTTPS; upload a file instead.";
  }
});
