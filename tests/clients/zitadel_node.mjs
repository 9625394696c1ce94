// @zitadel/node: node zitadel_node.mjs URL
import { createAccessTokenInterceptor, createAuthClient, createManagementClient } from "@zitadel/node/dist/api/index.js";
import { AuthServiceDefinition } from "@zitadel/node/dist/api/generated/zitadel/auth.js";
import { ManagementServiceDefinition } from "@zitadel/node/dist/api/generated/zitadel/management.js";
import { ClientError, Metadata } from "nice-grpc";

import { answerCalls } from "./calls.mjs";

const [url] = process.argv.slice(2);

const CLIENTS = new Map([
  [ManagementServiceDefinition, createManagementClient],
  [AuthServiceDefinition, createAuthClient],
]);

async function made({ service, method, request, token, headers }) {
  const [definition, createClient] = [...CLIENTS].find(([{ fullName }]) => fullName === service);
  const methods = Object.entries(definition.methods);
  const [name, { requestType, responseType }] = methods.find(([, one]) => one.name === method);
  const client = createClient(url, ...(token ? [createAccessTokenInterceptor(token)] : []));
  let trailer;
  try {
    const options = { metadata: new Metadata(headers), onTrailer: (ended) => { trailer = ended; } };
    const answer = await client[name](requestType.fromJSON(request), options);
    return { code: 0, answer: responseType.toJSON(answer) };
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const status = trailer.get("grpc-status-details-bin");
    return { code: error.code, message: error.details, status: status && Buffer.from(status).toString("base64") };
  }
}

await answerCalls(made);
