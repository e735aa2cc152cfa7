/** Whom agents' tokens are made out to: `audience` of the projected token in the agent's manifest. */
export const AGENT_TOKEN_AUDIENCE = 'kiam-server';
