// Send answers: each line of standard input is one operator's answer, with the scope of its recommendation.
//
//     echo '{"scope": "shop", "decision": "ddcc5842eb638859", "operator": "emma", "kind": "override", "reason": "not_ours"}' |
//         NPO_BROKER=127.0.0.1:9092 node send_answers.mjs
//
// Needs kafkajs (`npm ci` beside this file).

import { createInterface } from "node:readline";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const broker = process.env.NPO_BROKER ?? "127.0.0.1:9092";
const topic = `${process.env.NPO_TOPIC_PREFIX ?? "npo."}feedback.v1`;

const kafka = new Kafka({ clientId: "send-answers", brokers: broker.split(","), logLevel: logLevel.WARN });
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, createPartitioner: Partitioners.DefaultPartitioner });

await producer.connect();
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const { scope, ...answer } = { time_ms: Date.now(), revision: 1, ...JSON.parse(line) };
    // The key is the recommendation's own: its scope. The default partitioner is Kafka's own: murmur2.
    const [stored] = await producer.send({ topic, messages: [{ key: scope, value: JSON.stringify(answer) }] });
    // It is taken when the recommendation comes with life `answered` and positions.feedback = offset + 1.
    console.log(JSON.stringify({ decision: answer.decision, partition: stored.partition, offset: Number(stored.baseOffset) }));
  }
} finally {
  await producer.disconnect();
}
