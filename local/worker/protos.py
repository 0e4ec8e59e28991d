"""The messages between a Functions host and its workers: those of Microsoft's FunctionRpc protocol that are used here.

Names, types and nesting are the documented ones (github.com/Azure/azure-functions-language-worker-protobuf), so that
the worker library may take this module for the generated one, which no package brings. The numbers are this module's
own: both ends of the channel are here. Being protobuf, the messages refuse whatever those in Azure refuse.
"""

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

_PACKAGE = "AzureFunctionsRpcMessages"

# Each message with its enumerations and fields. `map` is of strings unless it says of what, `*` repeated, `a|` of the
# oneof a. What is left out makes the library fail where it is used, with the missing name.
_MESSAGES = """
StreamingMessage: string request_id, WorkerInitRequest content|worker_init_request,
  WorkerInitResponse content|worker_init_response, FunctionsMetadataRequest content|functions_metadata_request,
  FunctionMetadataResponse content|function_metadata_response, InvocationRequest content|invocation_request,
  InvocationResponse content|invocation_response
WorkerInitRequest: map capabilities, string function_app_directory
WorkerInitResponse: map capabilities, StatusResult result, WorkerMetadata worker_metadata
WorkerMetadata: string runtime_name, string runtime_version, string worker_version, string worker_bitness,
  map custom_properties
StatusResult: enum Status Failure Success Cancelled, Status status, RpcException exception
RpcException: string source, string stack_trace, string message
FunctionsMetadataRequest: string function_app_directory
FunctionMetadataResponse: RpcFunctionMetadata *function_metadata_results, StatusResult result,
  bool use_default_metadata_indexing
RpcFunctionMetadata: string name, string directory, string script_file, string entry_point, map:BindingInfo bindings,
  bool is_proxy, string language, string *raw_bindings, string function_id, bool managed_dependency_enabled,
  RpcRetryOptions retry_options, map properties
RpcRetryOptions: enum RetryStrategy exponential_backoff fixed_delay, int32 max_retry_count,
  .google.protobuf.Duration delay_interval, .google.protobuf.Duration minimum_interval,
  .google.protobuf.Duration maximum_interval, RetryStrategy retry_strategy
BindingInfo: enum Direction in out inout, enum DataType undefined string binary stream, string type,
  Direction direction, DataType data_type
InvocationRequest: string invocation_id, string function_id, ParameterBinding *input_data,
  map:TypedData trigger_metadata, RpcTraceContext trace_context, RetryContext retry_context
InvocationResponse: string invocation_id, ParameterBinding *output_data, TypedData return_value, StatusResult result
ParameterBinding: string name, TypedData rpc_data|data
TypedData: string data|string, string data|json, bytes data|bytes, RpcHttp data|http, int64 data|int,
  double data|double, CollectionString data|collection_string
CollectionString: string *string
RpcTraceContext: string trace_parent, string trace_state, map attributes
RetryContext: int32 retry_count, int32 max_retry_count, RpcException exception
RpcHttp: string method, string url, map headers, TypedData body, map params, string status_code, map query,
  bool enable_content_negotiation, RpcHttpCookie *cookies
RpcHttpCookie: enum SameSite None Lax Strict ExplicitNone, string name, string value, NullableString domain,
  NullableString path, NullableTimestamp expires, NullableBool secure, NullableBool http_only, SameSite same_site,
  NullableDouble max_age
NullableString: string string|value
NullableBool: bool bool|value
NullableDouble: double double|value
NullableTimestamp: .google.protobuf.Timestamp timestamp|value
"""
_Field = descriptor_pb2.FieldDescriptorProto


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="FunctionRpc.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.extend((duration_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name))
    for line in re.sub(r",\n\s+", ", ", _MESSAGES).strip().splitlines():
        name, _, fields = line.partition(": ")
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            kind, name, *values = field.split()
            if kind == "enum":
                enum = message.enum_type.add(name=name)
                for number, value in enumerate(values):
                    enum.value.add(name=value, number=number)
            else:
                _add_field(message, kind, name)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, kind: str, name: str) -> None:
    group, _, plain = name.rpartition("|")
    field = message.field.add(name=plain.removeprefix("*"), number=len(message.field) + 1)
    field.label = _Field.LABEL_REPEATED if name.startswith("*") or kind.startswith("map") else _Field.LABEL_OPTIONAL
    if group:
        if group not in [each.name for each in message.oneof_decl]:
            message.oneof_decl.add(name=group)
        field.oneof_index = [each.name for each in message.oneof_decl].index(group)
    if kind.startswith("map"):  # which protobuf holds as repeated entries, each a message of the field's own
        entry = message.nested_type.add(name=field.name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "string", "key")
        _add_field(entry, kind.partition(":")[2] or "string", "value")
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
    elif kind in [each.name for each in message.enum_type]:
        field.type, field.type_name = _Field.TYPE_ENUM, f".{_PACKAGE}.{message.name}.{kind}"
    elif not kind[0].islower():
        field.type = _Field.TYPE_MESSAGE
        field.type_name = kind if kind.startswith(".") else f".{_PACKAGE}.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(_describe().SerializeToString())
    file = pool.FindFileByName("FunctionRpc.proto")
    return {name: message_factory.GetMessageClass(each) for name, each in file.message_types_by_name.items()}


_CLASSES = _classes()


def __getattr__(name: str) -> Any:
    """Return the class of a message."""
    try:
        return _CLASSES[name]
    except KeyError:
        raise AttributeError(f"there is no message {name} here") from None
