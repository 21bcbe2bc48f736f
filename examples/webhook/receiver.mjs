#!/usr/bin/env node
// Receives webhooks: WEBHOOK_SECRET=whsec_… receiver.mjs PORT
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");

function verified(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": sent = "" } = headers;
  if (!/^\d+$/.test(at ?? "") || Math.abs(Date.now() / 1000 - Number(at)) > 300) return false; // too old
  const expected = Buffer.from("v1," + createHmac("sha256", key).update(`${id}.${at}.`).update(body).digest("base64"));
  const matches = (signature) => signature.length === expected.length && timingSafeEqual(signature, expected);
  return sent.split(" ").map((text) => Buffer.from(text)).some(matches);
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks); // verify the raw body before parsing it
  if (verified(request.headers, body)) {
    // The id is the same in every attempt: store it, and skip jobs that are already done.
    console.log(request.headers["webhook-id"], request.headers["aint-queue-job"], JSON.parse(body));
    response.writeHead(204).end();
  } else {
    response.writeHead(401).end(); // final: a retry would carry the same signature
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
