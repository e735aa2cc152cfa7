// The bill of materials of a bundle: which packages, in which versions and under which licences, have code in it.
// CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). It holds no date and no serial number: the same sources give the same bytes.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** `inputs` is what esbuild's metafile says of the bundle: by path below `root`, how many bytes of a file are in it. */
export function billOfMaterials({ root, name, inputs }) {
  const folders = new Set(
    Object.entries(inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .flatMap(([path]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []),
  );
  const components = new Map();
  for (const folder of folders) {
    const component = componentOf(join(root, folder));
    components.set(component.purl, component);
  }
  const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': `${name}@${own.version}`,
        name,
        version: own.version,
        licenses: licensesOf(own),
      },
    },
    components: [...components.values()].sort((one, other) => (one.purl < other.purl ? -1 : 1)),
  };
}

function componentOf(folder) {
  const description = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const purl = `pkg:npm/${description.name.replace('@', '%40')}@${description.version}`;
  const [scope, name] = description.name.startsWith('@') ? description.name.split('/') : [undefined, description.name];
  return {
    type: 'library',
    'bom-ref': purl,
    ...(scope === undefined ? {} : { group: scope }),
    name,
    version: description.version,
    licenses: licensesOf(description),
    purl,
  };
}

/** One identifier of SPDX, or an expression such as `(MIT OR Apache-2.0)`. A bundle whose licences are not known is not made. */
function licensesOf({ name, license }) {
  if (typeof license !== 'string') throw new Error(`${name}: its package.json names no licence`);
  return [/^[\w.+-]+$/.test(license) ? { license: { id: license } } : { expression: license }];
}
