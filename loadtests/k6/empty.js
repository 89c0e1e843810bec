// Empty: an empty Django view, the measure of the server itself. Not a scenario of the shop.

import { scenario } from './lib/scenario.js';

const empty = scenario('empty');
export const options = empty.options;
export default empty.visit;
export const handleSummary = empty.summary;
