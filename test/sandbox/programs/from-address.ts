import { Socket } from 'node:net';

// Stands in for a pod's own network where there is none: every connection of the program goes out from the pod's address.
const address = process.env['KIAM_SANDBOX_POD_ADDRESS'];
// oxlint-disable-next-line typescript/unbound-method -- it is called with the socket as its `this` below
const connect = Socket.prototype.connect;
Socket.prototype.connect = function connectFromPod(this: Socket, ...args: unknown[]): Socket {
  const [first] = args;
  const options: unknown = Array.isArray(first) ? first[0] : first;
  if (typeof options === 'object' && options !== null && !('path' in options && options.path)) {
    Object.assign(options, { localAddress: address });
  }
  return Reflect.apply(connect, this, args);
};
