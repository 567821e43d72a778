// Consume recommendations: print each moment of each recommendation's life as one line of JSON.
//
//     NPO_BROKER=127.0.0.1:9092 node consume_recommendations.mjs my-group
//
// Needs kafkajs (`npm ci` beside this file).

import { Kafka, logLevel } from "kafkajs";

const broker = process.env.NPO_BROKER ?? "127.0.0.1:9092";
const topic = `${process.env.NPO_TOPIC_PREFIX ?? "npo."}recommendation.v1`;
const lives = {
  opened: "new: somebody should answer",
  updated: "the same fault was seen again, or by more peers",
  answered: "an answer came, was changed or was taken back",
  cleared: "the entity looks usual again; an answer still counts",
  expired: "nobody answered in time",
};

// Act on one moment; after a crash it may come again, so do by `id` what may be done twice.
function handle(event) {
  if (!(event.life in lives)) return; // v1 may gain words: skip those that you do not know
  const { id, life, scope, entity, summary, positions } = event;
  const answers = Object.fromEntries(event.answers.map(({ operator, kind }) => [operator, kind]));
  console.log(JSON.stringify({ id, life, scope, entity, summary, positions, says: lives[life], answers }));
}

const kafka = new Kafka({ clientId: "consume-recommendations", brokers: broker.split(","), logLevel: logLevel.WARN });
// readUncommitted false, kafkajs's default, is read_committed: records of aborted transactions are left out.
const consumer = kafka.consumer({ groupId: process.argv[2], readUncommitted: false });

process.once("SIGINT", () => consumer.disconnect());
process.once("SIGTERM", () => consumer.disconnect());
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
// A position is committed only when `handle` has returned: what was not handled comes again.
await consumer.run({ eachMessage: async ({ message }) => handle(JSON.parse(message.value)) });
