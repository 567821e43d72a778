// Send telemetry: each line of standard input is one sample.
//
//     echo '{"entity": "web-3", "time_ms": 1577842500000, "metrics": {"cpu_usage": 41.5, "errors": null}, "scope": "shop"}' |
//         NPO_BROKER=127.0.0.1:9092 node send_telemetry.mjs
//
// Needs kafkajs (`npm ci` beside this file).

import { createInterface } from "node:readline";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const broker = process.env.NPO_BROKER ?? "127.0.0.1:9092";
const topic = `${process.env.NPO_TOPIC_PREFIX ?? "npo."}telemetry.v1`;

const kafka = new Kafka({ clientId: "send-telemetry", brokers: broker.split(","), logLevel: logLevel.WARN });
// Idempotent: sent again after a lost acknowledgement, a record is stored once; acks=all comes with it.
// The default partitioner, by its name to say so, is Kafka's own: murmur2.
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, createPartitioner: Partitioners.DefaultPartitioner });

await producer.connect();
let sent = 0;
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const sample = JSON.parse(line);
    // The key keeps the samples of one entity in one partition, in their order.
    await producer.send({ topic, messages: [{ key: sample.entity, value: line }] });
    sent += 1;
  }
} finally {
  await producer.disconnect();
}
console.log(`${sent} samples are on ${topic}`);
