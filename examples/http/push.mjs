// Pushes jobs over HTTP:  node push.mjs ann@example.com
// Copy pushJob() into your application. AINT_QUEUE_URL is where the master listens, AINT_QUEUE_HTTP_TOKEN its token.
import { setTimeout as sleep } from "node:timers/promises";

/** Pushes one job, or an array of jobs. Answers { id, added }, or an array of them. */
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
      const answer = await fetch(`${base}/channels/${encodeURIComponent(channel)}/jobs`, { ...request, signal });
      if (answer.ok) return await answer.json();
      if (answer.status !== 503 || !triesLeft) {
        throw new Error(`could not push: status ${answer.status}, ${await answer.text()}`);
      }
    } catch (error) {
      // fetch throws a TypeError when there is nobody, and a TimeoutError when nobody answers.
      if (!(error instanceof TypeError || error.name === "TimeoutError") || !triesLeft) throw error;
    }
    // Nobody there, or the store is away: tried again. With a unique key that cannot add the job twice.
    await sleep(1000);
  }
}

const to = process.argv[2];
const welcome = { job: "send_mail", payload: { to }, unique: `welcome-${to}`, unique_for: "1d" };
console.log((await pushJob("mail", welcome)).id);
const later = { job: "send_mail", payload: { to, text: "Schöne Grüße" }, delay: "1d", priority: "low" };
console.log((await pushJob("mail", [later, later])).map((one) => one.id).join(" "));
