// A worker for aint-queue: runs as many jobs at once as its channel allows, each as an async function.
// Copy this file, put your functions into handlers, and name it: command = ["node", "worker.mjs"]
import { existsSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

class Answer extends Error { // ends a job otherwise than by returning (done) or by another error (tried again)
  constructor(type, fields) { super(type); this.frame = { type, ...fields }; }
}

const handlers = {
  async send_mail(job, { to }) {
    if (!to.includes('@')) throw new Answer('failed', { error: 'not an address', retry: false }); // pointless to retry
    await appendFile('outbox.txt', `${job.id} ${to}\n`); // in place of a mail server
  },
  async call_partner(job, { busy_ms }) {
    if (existsSync('partner.lock')) throw new Answer('release', { after_ms: 100 }); // not our turn: not counted
    if (job.attempt === 1) throw new Answer('failed', { error: 'the partner is busy', retry: busy_ms }); // ms
  },
  async write_report(job, { pages }, signal) {
    say({ type: 'log', run: job.run, message: `${pages} pages to write` });
    for (let page = 1; page <= pages; page++) {
      await sleep(10, undefined, { signal }); // hand the signal on to fetch and its like: a cancel aborts it
      say({ type: 'progress', run: job.run, percent: 100 * page / pages });
    }
  },
};

const master = new Socket({ fd: Number(process.env.AINT_QUEUE_FD) });
const aboard = new Map(); // run -> AbortController
const say = (frame) => master.write(JSON.stringify(frame) + '\n');
const leave = () => master.end(() => process.exit());
let [unread, stopping] = ['', false];

async function run(job) {
  const { signal } = aboard.set(job.run, new AbortController()).get(job.run);
  try {
    const handler = Object.hasOwn(handlers, job.job) && handlers[job.job];
    if (!handler) throw new Answer('failed', { error: `no handler for ${job.job}`, unknown_job: true });
    await handler(job, job.payload, signal);
    say({ type: 'done', run: job.run });
  } catch (error) {
    const failed = { type: 'failed', error: String(error?.stack ?? error).slice(0, 4096) };
    say({ run: job.run, ...(error?.frame ?? failed) });
  }
  if (aboard.delete(job.run) && stopping && aboard.size === 0) leave();
}
master.setEncoding('utf8').on('close', () => process.exit()).on('error', () => process.exit(1));
master.on('data', (text) => {
  const lines = (unread + text).split('\n'); // not readline: it takes other characters for line breaks, too
  unread = lines.pop();
  for (const frame of lines.map((line) => JSON.parse(line))) {
    if (frame.type === 'run') run(frame);
    if (frame.type === 'cancel') aboard.get(frame.run)?.abort();
    if (frame.type === 'stop' && (stopping = true) && aboard.size === 0) leave();
  }
});
say({ type: 'hello', protocol: 1, slots: Number(process.env.AINT_QUEUE_SLOTS), jobs: Object.keys(handlers) });
