// Writes what @zitadel/proto publishes about the services, as a FileDescriptorSet.
import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { file_zitadel_auth } from "@zitadel/proto/zitadel/auth_pb.js";
import { file_zitadel_management } from "@zitadel/proto/zitadel/management_pb.js";
import { file_zitadel_user_v2_user_service } from "@zitadel/proto/zitadel/user/v2/user_service_pb.js";

const files = new Set();

function add(file) {
  file.dependencies.forEach(add); // what a file imports comes before it
  files.add(file.proto);
}

[file_zitadel_management, file_zitadel_auth, file_zitadel_user_v2_user_service].forEach(add);
process.stdout.write(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files] })));
