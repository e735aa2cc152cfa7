import assert from 'node:assert/strict';
import test from 'node:test';
import { createProxyOf, type ProxyTarget } from '#proxy/rules.ts';

type Environment = Readonly<Record<string, string>>;

function proxyFor(environment: Environment, target: ProxyTarget): string | undefined {
  return createProxyOf(environment)(target)?.href.replace(/\/$/, '');
}

/** The cases of Go's own test: golang.org/x/net v0.57.0, http/httpproxy/proxy_test.go, proxyForURLTests. */
const GO_CASES: readonly (readonly [Environment, url: string, proxy: string | undefined])[] = [
  [{ http_proxy: '127.0.0.1:8080' }, 'http://example.com', 'http://127.0.0.1:8080'],
  [{ http_proxy: 'cache.corp.example.com:1234' }, 'http://example.com', 'http://cache.corp.example.com:1234'],
  [{ http_proxy: 'cache.corp.example.com' }, 'http://example.com', 'http://cache.corp.example.com'],
  [{ http_proxy: 'localhost' }, 'http://example.com', 'http://localhost'],
  [{ http_proxy: 'https://cache.corp.example.com' }, 'http://example.com', 'https://cache.corp.example.com'],
  [{ http_proxy: 'http://127.0.0.1:8080' }, 'http://example.com', 'http://127.0.0.1:8080'],
  [{ http_proxy: 'https://127.0.0.1:8080' }, 'http://example.com', 'https://127.0.0.1:8080'],
  [{ http_proxy: 'socks5://127.0.0.1' }, 'http://example.com', 'socks5://127.0.0.1'],
  [{ http_proxy: 'foo://host' }, 'http://example.com', 'foo://host'],
  [{ http_proxy: 'http.proxy.tld', https_proxy: 'secure.proxy.tld' }, 'http://insecure.tld/', 'http://http.proxy.tld'],
  [{ http_proxy: 'http.proxy.tld', https_proxy: 'secure.proxy.tld' }, 'https://secure.tld/', 'http://secure.proxy.tld'],
  [
    { http_proxy: 'http.proxy.tld', https_proxy: 'https://secure.proxy.tld' },
    'https://secure.tld/',
    'https://secure.proxy.tld',
  ],
  [{ http_proxy: 'http.proxy.tld' }, 'https://secure.tld/', undefined],
  [{ http_proxy: 'http.proxy.tld' }, 'ftp://insecure.tld/', undefined],
  [{ http_proxy: 'http://10.1.2.3:8080', REQUEST_METHOD: 'GET' }, 'http://example.com', undefined],
  [
    { https_proxy: 'https://secure.proxy.tld', REQUEST_METHOD: 'GET' },
    'https://secure.tld/',
    'https://secure.proxy.tld',
  ],
  [{}, 'http://example.com', undefined],
  [{ no_proxy: 'example.com', http_proxy: 'proxy' }, 'http://example.com/', undefined],
  [{ no_proxy: '.example.com', http_proxy: 'proxy' }, 'http://example.com/', 'http://proxy'],
  [{ no_proxy: 'ample.com', http_proxy: 'proxy' }, 'http://example.com/', 'http://proxy'],
  [{ no_proxy: 'example.com', http_proxy: 'proxy' }, 'http://foo.example.com/', undefined],
  [{ no_proxy: '.foo.com', http_proxy: 'proxy' }, 'http://example.com/', 'http://proxy'],
  [{ no_proxy: '.示例.com', http_proxy: 'proxy' }, 'http://www.示例.com', undefined],
  [{ no_proxy: 'xn--fsq092h.com', http_proxy: 'proxy' }, 'http://www.示例.com', undefined],
  [{ no_proxy: '示例.com', http_proxy: 'proxy' }, 'http://www.xn--fsq092h.com', undefined],
];

for (const [environment, url, proxy] of GO_CASES) {
  test(`Go: ${JSON.stringify(environment)} sends ${url} ${proxy === undefined ? 'to itself' : `to ${proxy}`}.`, () => {
    assert.equal(proxyFor(environment, new URL(url)), proxy);
  });
}

test('Go: an address with a zone is of no domain, whatever the zone is called.', () => {
  const target = { protocol: 'http:', hostname: '[1000::%.example.com]', port: '123' };
  assert.equal(proxyFor({ no_proxy: 'example.com', http_proxy: 'proxy' }, target), 'http://proxy');
});

/** The same file, TestUseProxy: its noProxy and UseProxyTests. */
const GO_NO_PROXY =
  'foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64';

const GO_HOSTS: readonly (readonly [host: string, usesProxy: boolean])[] = [
  ['localhost', false],
  ['127.0.0.1', false],
  ['127.0.0.2', false],
  ['[::1]', false],
  ['[::2]', true],
  ['192.168.1.1', false],
  ['192.168.1.2', true],
  ['192.168.1.3', false],
  ['192.168.1.4', true],
  ['10.0.0.2', false],
  ['[2001:db8::52:0:1]', false],
  ['[2001:db8::52:0:2]', true],
  ['[2001:db8::52:0:3]', false],
  ['[2002:db8:a::123]', false],
  ['[fe80::424b:c8be:1643:a1b6]', true],
  ['barbaz.net', true],
  ['www.barbaz.net', false],
  ['foobar.com', false],
  ['www.foobar.com', false],
  ['foofoobar.com', true],
  ['baz.com', true],
  ['localhost.net', true],
  ['local.localhost', true],
  ['barbarbaz.net', true],
  ['wildcard.io', true],
  ['nested.wildcard.io', false],
  ['awildcard.io', true],
];

for (const [host, usesProxy] of GO_HOSTS) {
  test(`Go: ${host} ${usesProxy ? 'uses' : 'does not use'} the proxy, and never does with NO_PROXY=*.`, () => {
    const target = new URL(`http://${host}:80`);
    const through = (noProxy: string) => proxyFor({ HTTP_PROXY: 'proxy', NO_PROXY: noProxy }, target);
    assert.equal(through(GO_NO_PROXY), usesProxy ? 'http://proxy' : undefined);
    assert.equal(through('*'), undefined);
    assert.equal(through(`${GO_NO_PROXY},*`), undefined);
  });
}

test('Go: what NO_PROXY says without a host is ignored.', () => {
  assert.equal(proxyFor({ HTTP_PROXY: 'proxy', NO_PROXY: ':1' }, new URL('http://example.com')), 'http://proxy');
});

test('Go: capitals go before small letters, and an empty variable counts for nothing.', () => {
  const target = new URL('https://example.com');
  assert.equal(proxyFor({ HTTPS_PROXY: 'great', https_proxy: 'small' }, target), 'http://great');
  assert.equal(proxyFor({ HTTPS_PROXY: '', https_proxy: 'small' }, target), 'http://small');
  assert.equal(proxyFor({ HTTPS_PROXY: 'great', no_proxy: 'example.com' }, target), undefined);
  assert.equal(proxyFor({ HTTPS_PROXY: 'great', NO_PROXY: 'other', no_proxy: 'example.com' }, target), 'http://great');
});

/** What the code of Go does and its tests leave out; each was run in Go. */
const MORE: readonly (readonly [noProxy: string, url: string, usesProxy: boolean])[] = [
  ['10.0.0.0/8', 'https://[::ffff:10.1.2.3]/', false],
  ['::ffff:10.1.2.3', 'https://10.1.2.3/', false],
  ['', 'https://[::ffff:127.0.0.1]/', false],
  ['10.0.0.0/33', 'https://10.1.2.3/', true],
  ['10.0.0.0/8:443', 'https://10.1.2.3/', true],
  ['[2001:db8::1]', 'https://[2001:db8::1]/', true],
  ['example.com:443', 'https://example.com/', false],
  ['example.com:443', 'https://example.com:8443/', true],
  ['example.com:', 'https://example.com:8443/', false],
  ['.svc,.cluster.local', 'https://kubernetes.default.svc/', false],
  ['EXAMPLE.com', 'https://Sts.Example.COM/', false],
  [' ,, example.com ,', 'https://example.com/', false],
  ['0.0.0.0/0', 'https://192.0.2.1/', false],
  ['0.0.0.0/0', 'https://example.com/', true],
  ['192.0.2.0/24', 'https://192.0.3.1/', true],
];

for (const [noProxy, url, usesProxy] of MORE) {
  test(`As Go does, ${url} ${usesProxy ? 'uses' : 'does not use'} the proxy with NO_PROXY=${noProxy}.`, () => {
    const proxy = proxyFor({ HTTPS_PROXY: 'http://proxy', NO_PROXY: noProxy }, new URL(url));
    assert.equal(proxy, usesProxy ? 'http://proxy' : undefined);
  });
}
