// Pushes a job with node-redis, 4 or 5. Copy this file and push.lua, and call push().
//
// Try it: node push.cjs default send_mail '{"to":"ann@example.com"}' '{"delay":5}'
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const script = readFileSync(join(__dirname, 'push.lua'), 'utf8');
const hash = createHash('sha1').update(script).digest('hex');
const names = script.match(/local NAMES = {(.*?)}/s)[1].match(/[\w:]+/g);

// Returns the id of the job and whether it is new; otherwise another job holds the unique key. The head of push.lua
// lists the options. A refusal is an error.
async function push(client, channel, job, payload, options = {}) {
  const own = options.unique ? [`unique:${options.unique}`] : [];
  const given = {
    keys: [...names, ...own].map((name) => `aint-queue:{${channel}}:${name}`),
    arguments: [job, JSON.stringify(payload), JSON.stringify(options)],
  };
  const reply = await client.evalSha(hash, given).catch((error) => {
    if (!error.message.startsWith('NOSCRIPT')) throw error;
    return client.eval(script, given); // send the text only if the server does not know it yet
  });
  return { id: reply[0], added: reply[1] === 1 };
}

async function main([channel, job, payload, options = '{}']) {
  const client = require('redis').createClient({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' });
  await client.connect();
  try {
    const { id, added } = await push(client, channel, job, JSON.parse(payload), JSON.parse(options));
    console.log(id, added ? 'is new' : 'was there');
  } finally {
    await client.quit();
  }
}

module.exports = { push };
if (require.main === module) main(process.argv.slice(2)).catch((error) => { console.error(error.message); process.exit(1); });
