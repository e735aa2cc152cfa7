import { type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import protobuf from 'protobufjs';

/**
 * What Kiam's programs say to each other, as far as a client or a server that was built from it years ago knows it. Written
 * from the recorded facts and from nothing of ours: our own contract may grow, this one must not.
 */
const KIAM = `
syntax = "proto3";
package kiam;
service KiamService {
  rpc GetPodRole (Address) returns (Name);
  rpc GetPodCredentials (Wanted) returns (Keys);
  rpc GetHealth (Nothing) returns (Text);
}
message Nothing {}
message Address { string ip = 1; }
message Name { string name = 1; }
message Wanted { string ip = 1; string role = 2; }
message Keys {
  string code = 1;
  string type = 2;
  string access_key_id = 3;
  string secret_access_key = 4;
  string token = 5;
  string expiration = 6;
  string last_updated = 7;
}
message Text { string message = 1; }
`;

/** The service for raw grpc-js: a client's constructor, and with `.service` what a server is given. */
export function loadKiamService(): ServiceClientConstructor {
  const { root } = protobuf.parse(KIAM, { keepCase: true });
  const { kiam } = loadPackageDefinition(fromJSON(root.toJSON(), { keepCase: true, defaults: true }));
  const service = (kiam as GrpcObject)['KiamService'];
  return service as ServiceClientConstructor;
}
