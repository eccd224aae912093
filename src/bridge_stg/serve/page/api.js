// The service's routes; every refusal becomes an Error with the service's own line.

let token = sessionStorage.getItem("bridge-stg-token") ?? "";
let askToken = async () => "";

export function onTokenNeeded(ask) {
  askToken = ask;
}

function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `the service answered ${response.status}`);
}

async function ask(path, options = {}) {
  for (;;) {
    const response = await fetch(path, { ...options, headers: headers(options.headers) });
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    token = await askToken();
    sessionStorage.setItem("bridge-stg-token", token);
  }
}

function postJson(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

export async function about() {
  return (await ask("/v1/about")).json();
}

export async function openSample(name) {
  const stored = await (await ask(`/v1/samples/${name}`, { method: "POST" })).json();
  const file = await (await ask(`/v1/videos/${stored.id}/file`)).blob();
  return { stored, file };
}

// XMLHttpRequest, because fetch does not tell how much of a body has been sent.
export function upload(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("video", file, file.name);
    request.open("POST", "/v1/videos");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Error("the upload was cut off; is the service running?"));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.onload = () => {
      const body = JSON.parse(request.responseText || "{}");
      if (request.status < 300) resolve(body);
      else reject(new Error(body.error?.message ?? `the service answered ${request.status}`));
    };
    request.send(form);
  });
}

export async function submit(video, queries) {
  return (await (await postJson(`/v1/videos/${video}/ground`, { queries })).json()).job;
}

export async function cancel(job) {
  await ask(`/v1/jobs/${job}`, { method: "DELETE" });
}

// Server-sent events by fetch, which can carry the token.
export async function follow(job, onChange) {
  const response = await ask(`/v1/jobs/${job}/events`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    waiting += value;
    const events = waiting.split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) onChange(JSON.parse(data.slice(6)));
    }
  }
  return (await ask(`/v1/jobs/${job}`)).json();
}

export async function exportAs(video, format, results) {
  const response = await postJson(`/v1/videos/${video}/export`, { format, results });
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "export";
  return { name, blob: await response.blob() };
}
