// Rush: everyone wants one coupon and one product in the same second.

import { scenario } from './lib/scenario.js';

const rush = scenario('rush', { together: true });
export const options = rush.options;
export default rush.visit;
export const handleSummary = rush.summary;
