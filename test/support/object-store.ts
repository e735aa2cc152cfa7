import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

import { type HttpListener, type ListenAddress, listen } from '#sandbox/http-listener.ts';

/**
 * A store of objects that speaks enough of S3 for every client to read the object `whoami` of the bucket `identity`: who the
 * owner of the keys is that signed the request. Signatures are not checked; `whoami.vrt` says it as a raster of GDAL does.
 */
export async function startObjectStore(
  address: ListenAddress,
  arnOf: (accessKeyId: string) => string | undefined,
): Promise<HttpListener> {
  return listen(
    createServer((request, response) => answer(request, response, arnOf)),
    address,
  );
}

const CREDENTIAL = /Credential=([A-Z0-9]+)\//;
const RANGE = /^bytes=(\d+)-(\d*)$/;

function answer(
  { headers, method, url = '' }: IncomingMessage,
  response: ServerResponse,
  arnOf: (accessKeyId: string) => string | undefined,
): void {
  const arn = arnOf(CREDENTIAL.exec(headers.authorization ?? '')?.[1] ?? '');
  const path = url.split('?', 1)[0];
  if (arn === undefined) return refuse(response, 403, 'InvalidAccessKeyId');
  if (path !== '/identity/whoami' && path !== '/identity/whoami.vrt') return refuse(response, 404, 'NoSuchKey');
  const body = Buffer.from(path.endsWith('.vrt') ? raster(arn) : arn);
  const [, first = '0', last = ''] = RANGE.exec(headers.range ?? '') ?? [];
  const end = Math.min(last === '' ? body.length : Number(last) + 1, body.length);
  const part = body.subarray(Number(first), end);
  response.writeHead(headers.range === undefined ? 200 : 206, {
    'content-type': 'text/plain',
    'content-length': part.length,
    'accept-ranges': 'bytes',
    etag: '"whoami"',
    'last-modified': 'Sun, 01 Nov 2026 00:00:00 GMT',
    ...(headers.range === undefined ? {} : { 'content-range': `bytes ${first}-${end - 1}/${body.length}` }),
  });
  response.end(method === 'HEAD' ? undefined : part);
}

function raster(arn: string): string {
  const metadata = `<Metadata><MDI key="arn">${arn}</MDI></Metadata>`;
  return `<VRTDataset rasterXSize="1" rasterYSize="1">${metadata}<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>`;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': body.length }).end(body);
}
