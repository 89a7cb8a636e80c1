"""Any general model becomes an embedding model: cut, freeze, pool, project; imported when first used."""
