"""The tables that Application Insights keeps in a Log Analytics workspace, with the columns that Microsoft documents.

Source: learn.microsoft.com/azure/azure-monitor/reference/tables/ (apprequests, appdependencies, apptraces,
appexceptions, appmetrics, appevents), as of 2025-02. The page on migrating to a workspace names the sum of a metric
`ValueSum`; the reference of the table, and queries that people use, have `Sum`.
"""

_SHARED = """
    AppRoleInstance:string, AppRoleName:string, AppVersion:string, ClientBrowser:string, ClientCity:string,
    ClientCountryOrRegion:string, ClientIP:string, ClientModel:string, ClientOS:string, ClientStateOrProvince:string,
    ClientType:string, IKey:string, ItemCount:int, OperationId:string, OperationName:string, ParentId:string,
    Properties:dynamic, ResourceGUID:string, SDKVersion:string, SessionId:string, SourceSystem:string,
    SyntheticSource:string, TenantId:string, TimeGenerated:datetime, Type:string, UserAccountId:string,
    UserAuthenticatedId:string, UserId:string, _BilledSize:real, _IsBillable:string, _ResourceId:string,
    _SubscriptionId:string
"""
_OWN = {
    "AppRequests": """
        DurationMs:real, Id:string, Measurements:dynamic, Name:string, PerformanceBucket:string,
        ReferencedItemId:string, ReferencedType:string, ResultCode:string, Source:string, Success:bool, Url:string
    """,
    "AppDependencies": """
        Data:string, DependencyType:string, DurationMs:real, Id:string, Measurements:dynamic, Name:string,
        PerformanceBucket:string, ReferencedItemId:string, ReferencedType:string, ResultCode:string, Success:bool,
        Target:string
    """,
    "AppTraces": """
        Measurements:dynamic, Message:string, ReferencedItemId:string, ReferencedType:string, SeverityLevel:int
    """,
    "AppExceptions": """
        Assembly:string, Details:dynamic, ExceptionType:string, HandledAt:string, InnermostAssembly:string,
        InnermostMessage:string, InnermostMethod:string, InnermostType:string, Measurements:dynamic, Message:string,
        Method:string, OuterAssembly:string, OuterMessage:string, OuterMethod:string, OuterType:string,
        ProblemId:string, SeverityLevel:int
    """,
    "AppMetrics": "Max:real, Min:real, Name:string, Sum:real",
    "AppEvents": "Measurements:dynamic, Name:string",
}

TABLES: dict[str, dict[str, str]] = {
    table: {
        name: kind for name, _, kind in (each.strip().partition(":") for each in sorted(f"{_SHARED},{own}".split(",")))
    }
    for table, own in _OWN.items()
}
"""The type of each column, by table."""
