// Lint rules of the page, its tests and build scripts, and the browser tests. `npm run lint` checks them from the repository's root, because
// eslint ignores files outside the folder that it starts in.
import js from '@eslint/js';
import { createNodeResolver, importX } from 'eslint-plugin-import-x';
import typescript from 'typescript-eslint';

export default [
  { ignores: ['**/dist/', '**/.check/'] },
  js.configs.recommended,
  ...typescript.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { eqeqeq: 'error', 'no-useless-rename': 'error', 'object-shorthand': 'error' },
  },
  {
    files: ['**/*.mjs'],
    rules: { 'no-undef': 'off' }, // Node.js and browser code are in one file: the bodies of page.evaluate run in the page
  },
  {
    files: ['**/*.ts'],
    rules: { 'max-lines': ['error', 470] },
  },
  {
    files: ['**/src/**/*.ts'],
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts'] })], 'import-x/extensions': ['.ts'] },
    rules: {
      'import-x/no-cycle': 'error', // type-only imports do not count: they do not exist at run time
      'max-lines-per-function': ['error', 70],
    },
  },
];
