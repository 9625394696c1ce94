// @zitadel/client in a browser: makes the calls that the page's own server gives it.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { NewAuthorizationBearerInterceptor } from "@zitadel/client";
import { createClientTransport } from "@zitadel/client/web";

import { made } from "./made.mjs";

const { BASE_URL: baseUrl, WIRE: wire } = process.env; // the bundler puts the values here

const TRANSPORTS = {
  "grpc-web": (token) => token ? createClientTransport(token, { baseUrl }) : createGrpcWebTransport({ baseUrl }),
  "connect": (token) =>
    createConnectTransport({ baseUrl, interceptors: token ? [NewAuthorizationBearerInterceptor(token)] : [] }),
};

for (;;) {
  const call = await (await fetch("/call")).json();
  const outcome = await made(call, TRANSPORTS[wire]);
  await fetch("/outcome", { method: "POST", body: JSON.stringify(outcome) });
}
