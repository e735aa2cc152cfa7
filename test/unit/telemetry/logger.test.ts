import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '#telemetry/logger.ts';
import type { Fields, LoggerOptions, ProcessLogger } from '#telemetry/logger.ts';

const NOON = Date.UTC(2026, 10, 24, 12, 0, 0, 999);

function logged(options: Partial<LoggerOptions>, log: (logger: ProcessLogger) => void): string {
  let text = '';
  const write = (line: string): void => {
    text += line;
  };
  log(createLogger({ json: false, level: 'debug', write, clock: { now: () => NOON }, ...options }));
  return text;
}

function textLine(fields: Fields, message = 'm'): string {
  const line = logged({}, (logger) => logger.info(message, fields));
  const prefix = 'time="2026-11-24T12:00:00Z" level=info ';
  assert.ok(line.startsWith(prefix) && line.endsWith('\n'), line);
  return line.slice(prefix.length, -1);
}

test('The text form is what Kiam was recorded to write', () => {
  const line = logged({ clock: { now: () => Date.UTC(2026, 10, 24, 0, 11, 19, 700) } }, (logger) =>
    logger.info('listening :8182'),
  );
  assert.equal(line, 'time="2026-11-24T00:11:19Z" level=info msg="listening :8182"\n');
});

const TEXT_LINES: readonly (readonly [string, Fields, string])[] = [
  [
    'Fields stand behind the message in the order of their names',
    { b: 1, a: true, 'B.c': 'x' },
    'msg=m B.c=x a=true b=1',
  ],
  ['Letters, digits and -._/@^+ stand bare', { v: 'aZ09-._/@^+' }, 'msg=m v=aZ09-._/@^+'],
  ['Anything else is quoted', { v: 'a:b', w: 'ü', x: 'a=b' }, 'msg=m v="a:b" w="ü" x="a=b"'],
  ['An empty value is nothing behind the sign', { v: '', w: 1 }, 'msg=m v= w=1'],
  ['Undefined fields are left out', { v: undefined, w: 1.5 }, 'msg=m w=1.5'],
  ['Quotes and backslashes are escaped', { v: 'a"b\\c' }, 'msg=m v="a\\"b\\\\c"'],
  ['A line feed cannot begin a line of its own', { v: 'x\nlevel=fatal' }, 'msg=m v="x\\nlevel=fatal"'],
  [
    'Control characters are escaped as Go does',
    { v: '\u0000\u0007\t\r\u001b[31m\u007f' },
    'msg=m v="\\x00\\a\\t\\r\\x1b[31m\\x7f"',
  ],
  ['Others without a glyph are escaped as well', { v: '\u0085\u202e\u00a0' }, 'msg=m v="\\u0085\\u202e\\u00a0"'],
  ['Emoji are printed, unassigned characters are not', { v: '😀\u{e0001}' }, 'msg=m v="😀\\U000e0001"'],
  ['A broken surrogate becomes a replacement character', { v: 'a\ud800b' }, 'msg=m v="a\ufffdb"'],
  [
    'Names that belong to the line are renamed as logrus does',
    { msg: 'x', level: 'y', time: 'z' },
    'msg=m fields.level=y fields.msg=x fields.time=z',
  ],
  ['An error is its message', { error: new Error('no route') }, 'msg=m error="no route"'],
  [
    'What caused an error is told',
    { error: new Error('fetch failed', { cause: new Error('refused') }) },
    'msg=m error="fetch failed: refused"',
  ],
  [
    'Many errors without a message are told',
    { error: new AggregateError([new Error('a1'), new Error('a2')]) },
    'msg=m error="a1; a2"',
  ],
  ['A number that JSON cannot hold is text', { v: Number.NaN, w: Infinity }, 'msg=m v=NaN w=Infinity'],
];

for (const [name, fields, expected] of TEXT_LINES) {
  test(name, () => assert.equal(textLine(fields), expected));
}

test('An error that causes itself does not end the program', () => {
  const error = new Error('round');
  error.cause = new Error('and round', { cause: error });
  assert.match(textLine({ error }), /^msg=m error="round: and round/);
});

test('A value of 256 KiB is cut to 4 KiB and says so', () => {
  const line = textLine({ v: 'x'.repeat(256 * 1024) });
  assert.equal(line, `msg=m v="${'x'.repeat(4096)}... (258048 characters more)"`);
  assert.ok(textLine({}, 'y'.repeat(9000)).length < 4200);
});

test('The JSON form has level, msg, time and the fields, on one line', () => {
  const line = logged({ json: true }, (logger) =>
    logger.warn('two\nlines', { 'pod.name': 'a "b"', status: 200, ok: false, none: undefined, error: new Error('x') }),
  );
  assert.equal(line.indexOf('\n'), line.length - 1);
  assert.deepEqual(JSON.parse(line), {
    level: 'warning',
    msg: 'two\nlines',
    time: '2026-11-24T12:00:00Z',
    'pod.name': 'a "b"',
    status: 200,
    ok: false,
    error: 'x',
  });
});

test('The JSON form escapes what a browser or a terminal acts on', () => {
  const line = logged({ json: true }, (logger) => logger.info('m', { v: '<&>\u001b\u009b\u2028' }));
  assert.match(line, /^[\x20-\x7e]+\n$/);
  assert.doesNotMatch(line, /[<>&]/);
  assert.equal(JSON.parse(line).v, '<&>\u001b\u009b\u2028');
});

test("A field cannot take the place of the line's own facts in JSON either", () => {
  const line = logged({ json: true }, (logger) => logger.info('m', { level: 'fatal', msg: 'forged', time: 'never' }));
  assert.equal(line.match(/"(level|msg|time)":/g)?.length, 3);
  assert.equal(JSON.parse(line).msg, 'm');
});

for (const json of [true, false]) {
  test(`Level names are those of logrus (${json ? 'JSON' : 'text'})`, () => {
    const text = logged({ json }, (logger) => {
      for (const level of ['debug', 'info', 'warn', 'error', 'fatal'] as const) logger[level]('m');
    });
    const names = [...text.matchAll(/level"?[:=]"?(\w+)/g)].map((match) => match[1]);
    assert.deepEqual(names, ['debug', 'info', 'warning', 'error', 'fatal']);
  });
}

const THRESHOLDS = { debug: 5, info: 4, warn: 3, error: 2 } as const;

for (const level of ['debug', 'info', 'warn', 'error'] as const) {
  test(`With level ${level} ${THRESHOLDS[level]} of five levels are written`, () => {
    const text = logged({ level }, (logger) => {
      for (const each of ['debug', 'info', 'warn', 'error', 'fatal'] as const) logger[each]('m');
    });
    assert.equal(text.split('\n').length - 1, THRESHOLDS[level]);
  });
}

test('No method throws, whatever it is given and whatever becomes of the line', () => {
  const hostile = {
    get v(): string {
      throw new Error('getter');
    },
  };
  const logger = createLogger({
    json: true,
    level: 'debug',
    write: () => {
      throw new Error('disk full');
    },
  });
  logger.info('m', hostile);
  logger.error('m', { v: 1 });
});
