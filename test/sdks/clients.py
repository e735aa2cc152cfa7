"""A program as it might run in any pod: a client of AWS, whose name is its argument, with nothing configured but the
address of a store of objects. It says who AWS says it is, at the start and again for each line of its input, with
credentials that it fetches anew. Clients that know only S3 read it from an object, which holds who reads it."""

import json
import os
import sys
import time

STORE = os.environ.get("KIAM_TEST_STORE", "")
HOST = STORE.removeprefix("http://")
BUCKET, KEY = "identity", "whoami"


def boto3():
    from boto3.session import Session

    return Session().client("sts").get_caller_identity()["Arn"]


def aiobotocore():
    import asyncio

    from aiobotocore.session import get_session

    async def identity():
        async with get_session().create_client("sts") as client:
            return (await client.get_caller_identity())["Arn"]

    return asyncio.run(identity())


def pyarrow():
    from pyarrow.fs import S3FileSystem

    files = S3FileSystem(endpoint_override=HOST, scheme="http", region=os.environ["AWS_REGION"])
    return files.open_input_stream(f"{BUCKET}/{KEY}").read().decode()


def duckdb():
    import duckdb
    import duckdb_extension_aws
    import duckdb_extension_httpfs

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for package in (duckdb_extension_httpfs, duckdb_extension_aws):
        name = package.__name__.removeprefix("duckdb_extension_")
        folder = os.path.dirname(package.__file__)
        connection.execute(f"load '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
    connection.execute(
        "create secret (type s3, provider credential_chain, chain 'instance',"
        f" endpoint '{HOST}', url_style 'path', use_ssl false, region '{os.environ['AWS_REGION']}')"
    )
    return connection.execute(f"select content from read_text('s3://{BUCKET}/{KEY}')").fetchone()[0]


def opendal():
    from opendal import Operator

    return Operator("s3", bucket=BUCKET, endpoint=STORE, region=os.environ["AWS_REGION"]).read(KEY).decode()


def obstore():
    import obstore
    from obstore.store import S3Store

    store = S3Store(BUCKET, endpoint=STORE, region=os.environ["AWS_REGION"], client_options={"allow_http": True})
    return bytes(obstore.get(store, KEY).bytes()).decode()


def awscrt():
    from awscrt.auth import AwsCredentialsProvider
    from awscrt.io import ClientBootstrap

    provider = AwsCredentialsProvider.new_default_chain(ClientBootstrap.get_or_create_static_default())
    return identity_of(provider.get_credentials().result(30).access_key_id)


def minio():
    from minio import Minio
    from minio.credentials import IamAwsProvider

    client = Minio(HOST, secure=False, region=os.environ["AWS_REGION"], credentials=IamAwsProvider())
    return client.get_object(BUCKET, KEY).read().decode()


def gdal():
    import rasterio

    options = {"AWS_S3_ENDPOINT": HOST, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    with rasterio.Env(session=rasterio.session.DummySession(), **options):
        with rasterio.open(f"/vsis3/{BUCKET}/{KEY}.vrt") as raster:
            return raster.tags()["arn"]


def mountpoint():
    from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

    client = MountpointS3Client(os.environ["AWS_REGION"], "kiam", endpoint=STORE, force_path_style=True)
    return b"".join(client.get_object(BUCKET, KEY)).decode()


def identity_of(access_key_id):
    """For clients that only fetch credentials."""
    from urllib.request import Request, urlopen

    header = {"authorization": f"AWS4-HMAC-SHA256 Credential={access_key_id}/-"}
    return urlopen(Request(f"{STORE}/{BUCKET}/{KEY}", headers=header)).read().decode()


def say(identity):
    started = time.monotonic()
    try:
        said = {"arn": identity()}
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    said["tookMs"] = (time.monotonic() - started) * 1000
    print(json.dumps(said), flush=True)


client = globals()[sys.argv[1]]
say(client)
for _line in sys.stdin:
    say(client)
