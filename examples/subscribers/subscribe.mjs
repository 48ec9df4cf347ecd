// Prints every result that stations publish, each once: node subscribe.mjs [URL] [COUNT]
//
// A result comes alone on edge/v1/<site>/<station>/result/<stream>, or, after an outage, with many others on …/pack.
// Fields are described in docs/reference/messages.md; those that you do not know, leave out.
import { inflateSync } from "node:zlib";
import mqtt from "mqtt";

const [url = "mqtt://127.0.0.1", count = "0"] = process.argv.slice(2);
const seen = new Map(); // "site/station/epoch" -> numbers that were given

function isNew(site, result) {
  const key = `${site}/${result.station}/${result.epoch}`;
  if (!seen.has(key)) seen.set(key, new Set());
  const numbers = seen.get(key);
  if (numbers.has(result.seq)) return false;
  numbers.add(result.seq);
  if (numbers.size > 100_000) numbers.delete(numbers.values().next().value); // the one that was given first
  return true;
}

// A station may be told to compress its packs: the first byte is then not "{" but that of zlib.
function read(payload) {
  const plain = payload[0] === 0x78 ? inflateSync(payload, { maxOutputLength: 4 << 20 }) : payload;
  return JSON.parse(plain.toString("utf8"));
}

function resultsOf(kind, message) {
  if (kind === "result") return [message];
  const { results, gone, ...envelope } = message;
  return results.map((result) => ({ ...envelope, ...result }));
}

const client = mqtt.connect(url, { protocolVersion: 5 });
client.on("error", (error) => {
  console.error(`error: ${error.message || error.code}`);
  process.exit(69);
});
client.on("connect", () => {
  client.subscribe(["edge/v1/+/+/result/#", "edge/v1/+/+/pack"], { qos: 1 }, (error) => {
    if (!error) console.error("subscribed");
  });
});

let left = Number(count) || Infinity;
client.on("message", (topic, payload) => {
  const [, , site, , kind] = topic.split("/");
  let results = [];
  try {
    const message = read(payload);
    if (message.v !== 1) throw new Error(`version ${message.v}`);
    results = resultsOf(kind, message);
  } catch (error) {
    console.error(`cannot be read: ${topic}: ${error.message}`);
  }
  for (const result of results.filter((one) => isNew(site, one))) {
    console.log(JSON.stringify({ site, ...result }));
    left -= 1;
    if (left === 0) client.end(false, {}, () => process.exit(0));
  }
});
