/** Every kernel of the host against float64, for inputs that are hard. (Those of devices: device-suite.ts.) */
import { describe } from 'vitest';
import { KERNELS } from '../../attention/kernel/index.js';
import { errorSuite } from './error-suite.js';

describe.each(['reference', 'flash'] as const)('kernel %s', (name) => errorSuite(KERNELS[name]));
