// A service that reports its version and ends when it is asked to.
const http = require('node:http');

const version = process.env.APP_VERSION;
const server = http.createServer((_, response) => {
  response.setHeader('x-app-version', version);
  response.end(`node ${version}\n`);
});
server.listen(process.env.PORT, '0.0.0.0');
process.on('SIGTERM', () => server.close(() => process.exit(0)));
