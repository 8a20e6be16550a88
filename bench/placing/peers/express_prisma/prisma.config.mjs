// No migrations are run and no database is asked: the client is generated from the schema alone. The engine that
// migrates is a download of its own, so package.json names a program in its place.
export default { schema: 'schema.prisma' }
