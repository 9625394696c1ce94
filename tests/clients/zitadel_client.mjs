// @zitadel/client in Node: node zitadel_client.mjs URL WIRE
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { NewAuthorizationBearerInterceptor } from "@zitadel/client";
import { createServerTransport } from "@zitadel/client/node";

import { answerCalls } from "./calls.mjs";
import { made } from "./made.mjs";

const [baseUrl, wire] = process.argv.slice(2);

const TRANSPORTS = {
  "grpc": (token) => token ? createServerTransport(token, { baseUrl }) : createGrpcTransport({ baseUrl }),
  "grpc-web": (token) => createGrpcWebTransport(options(token)),
  "connect": (token) => createConnectTransport(options(token)),
};

function options(token) {
  return { baseUrl, httpVersion: "1.1", interceptors: token ? [NewAuthorizationBearerInterceptor(token)] : [] };
}

await answerCalls((call) => made(call, TRANSPORTS[wire]));
