import { deviceSuite } from './device-suite.js';

deviceSuite('wasm');
