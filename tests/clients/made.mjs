// A call by @zitadel/client, in Node or in a browser, whatever the transport.
import { fromJson, toJson } from "@zitadel/client";
import { createAuthServiceClient, createManagementServiceClient } from "@zitadel/client/v1";
import { createUserServiceClient } from "@zitadel/client/v2";
import { ConnectError } from "@connectrpc/connect";
import { AuthService } from "@zitadel/proto/zitadel/auth_pb.js";
import { ManagementService } from "@zitadel/proto/zitadel/management_pb.js";
import { ErrorDetailSchema } from "@zitadel/proto/zitadel/message_pb.js";
import { UserService } from "@zitadel/proto/zitadel/user/v2/user_service_pb.js";

const CLIENTS = new Map([
  [ManagementService, createManagementServiceClient],
  [AuthService, createAuthServiceClient],
  [UserService, createUserServiceClient],
]);

// What comes of a call; *transportWith* gives the transport for a token, or for none.
export async function made({ service, method, request, token, headers }, transportWith) {
  const [description, createClient] = [...CLIENTS].find(([{ typeName }]) => typeName === service);
  const { input, localName, output } = description.methods.find(({ name }) => name === method);
  const client = createClient(transportWith(token));
  try {
    const answer = await client[localName](fromJson(input, request), { headers });
    return { code: 0, answer: toJson(output, answer) };
  } catch (error) {
    return told(ConnectError.from(error));
  }
}

function told(error) {
  const details = error.findDetails(ErrorDetailSchema).map((detail) => toJson(ErrorDetailSchema, detail));
  return { code: error.code, message: error.rawMessage, details };
}
