// Pushes jobs over HTTP:  node push.mjs ann@example.com
// Copy pushJob() into your application. AINT_QUEUE_URL: address of the master. AINT_QUEUE_HTTP_TOKEN: its token.
import { setTimeout as sleep } from "node:timers/promises";

/** Pushes one job, or an array of jobs. Returns { id, added }, or an array of them. */
async function pushJob(channel, job) {
  const base = process.env.AINT_QUEUE_URL ?? "http://127.0.0.1:9465";
  const request = {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${process.env.AINT_QUEUE_HTTP_TOKEN ?? ""}`,
    },
    body: JSON.stringify(job),
  };
  for (let triesLeft = 9; ; triesLeft--) {
    try {
      const signal = AbortSignal.timeout(10_000);
      const response = await fetch(`${base}/channels/${encodeURIComponent(channel)}/jobs`, { ...request, signal });
      if (response.ok) return await response.json();
      if (response.status !== 503 || !triesLeft) {
        throw new Error(`could not push: status ${response.status}, ${await response.text()}`);
      }
    } catch (error) {
      // fetch throws a TypeError without a connection, and a TimeoutError without a response.
      if (!(error instanceof TypeError || error.name === "TimeoutError") || !triesLeft) throw error;
    }
    // No connection, or the store is unavailable: retry. A unique key keeps a retry from adding the job twice.
    await sleep(1000);
  }
}

const to = process.argv[2];
const welcome = { job: "send_mail", payload: { to }, unique: `welcome-${to}`, unique_for: "1d" };
console.log((await pushJob("mail", welcome)).id);
const later = { job: "send_mail", payload: { to, text: "Schöne Grüße" }, delay: "1d", priority: "low" };
console.log((await pushJob("mail", [later, later])).map((pushed) => pushed.id).join(" "));
