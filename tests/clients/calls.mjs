// Answers what the tests ask: each line of the input is a call, each line of the output what came of it.
import { createInterface } from "node:readline";

export async function answerCalls(made) {
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await made(JSON.parse(line))));
  }
  process.exit(); // connections may still be open
}
