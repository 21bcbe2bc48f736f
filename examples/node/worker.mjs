// A worker for aint-queue: runs as many jobs at once as its channel allows, each as an async function.
// Copy this file, add your functions to handlers, and configure: command = ["node", "worker.mjs"]
import { existsSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

class Outcome extends Error { // ends a job with a frame of its own; a return is done, other errors are retried
  constructor(type, fields) { super(type); this.frame = { type, ...fields }; }
}

const handlers = {
  async send_mail(job, { to }) {
    if (!to.includes('@')) throw new Outcome('failed', { error: 'not an address', retry: false }); // final
    await appendFile('outbox.txt', `${job.id} ${to}\n`); // replaces a mail server
  },
  async call_partner(job, { busy_ms }) {
    if (existsSync('partner.lock')) throw new Outcome('release', { after_ms: 100 }); // in use: not counted
    if (job.attempt === 1) throw new Outcome('failed', { error: 'the partner is busy', retry: busy_ms }); // ms
  },
  async write_report(job, { pages }, signal) {
    send({ type: 'log', run: job.run, message: `${pages} pages to write` });
    for (let page = 1; page <= pages; page++) {
      await sleep(10, undefined, { signal }); // pass the signal to fetch and similar calls: a cancel aborts them
      send({ type: 'progress', run: job.run, percent: 100 * page / pages });
    }
  },
};

const master = new Socket({ fd: Number(process.env.AINT_QUEUE_FD) });
const running = new Map(); // run -> AbortController
const utf8 = (_, value) => typeof value === 'string' ? Buffer.from(value).toString() : value; // half an emoji becomes U+FFFD
const send = (frame) => master.write(JSON.stringify(frame, utf8) + '\n');
const read = (line) => {
  try { return JSON.parse(line); } catch (error) {
    console.error(`unreadable frame (${error.message}): ${line.slice(0, 200)}`);
    process.exit(1);
  }
};
const exit = () => master.end(() => process.exit());
let [buffer, stopping] = ['', false];

async function run(job) {
  const { signal } = running.set(job.run, new AbortController()).get(job.run);
  try {
    const handler = Object.hasOwn(handlers, job.job) && handlers[job.job];
    if (!handler) throw new Outcome('failed', { error: `unknown job ${job.job}`, unknown_job: true });
    await handler(job, job.payload, signal);
    send({ type: 'done', run: job.run });
  } catch (error) {
    const failed = { type: 'failed', error: String(error?.stack ?? error).slice(0, 4096) };
    send({ run: job.run, ...(error?.frame ?? failed) });
  }
  if (running.delete(job.run) && stopping && running.size === 0) exit();
}
master.setEncoding('utf8').on('close', () => process.exit()).on('error', () => process.exit(1));
master.on('data', (text) => {
  const lines = (buffer + text).split('\n'); // not readline, which also splits at other characters
  buffer = lines.pop();
  for (const frame of lines.map(read)) {
    if (frame.type === 'run') run(frame);
    if (frame.type === 'cancel') running.get(frame.run)?.abort();
    if (frame.type === 'stop' && (stopping = true) && running.size === 0) exit();
  }
});
send({ type: 'hello', protocol: 1, slots: Number(process.env.AINT_QUEUE_SLOTS), jobs: Object.keys(handlers) });
