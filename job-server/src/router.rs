//! Which operation a method and a path mean: one table, which the OpenAPI document is held to.

use hyper::Method;

use crate::auth::AccessRole;
use crate::error::ApiError;
use crate::query_string::decode;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    Root,
    OpenApi,
    HealthCheck,
    Ping,
    JobTypes,
    ListJobs,
    GetJob,
    CreateJob,
    DeleteJob,
    DeleteJobs,
    IsActive,
    Status,
    CancelJob,
    CancelJobs,
    PauseJob,
    ResumeJob,
    RedispatchJob,
    CountJobs,
    CountJobsByStatus,
    Tasks,
    Failures,
    SwaggerPage,
    SwaggerFile,
    SwaggerDocument,
    Dependencies,
    SuspendedPartitions,
    SuspendPartition,
    ResumePartition,
    AdminPing,
    AdminHealthCheck,
    Metrics,
}

impl Endpoint {
    /// What a caller must be to ask for it; none when anybody may. The OpenAPI document says the same.
    pub(crate) const fn role(self) -> Option<AccessRole> {
        match self {
            Self::Root
            | Self::OpenApi
            | Self::HealthCheck
            | Self::Ping
            | Self::AdminPing
            | Self::AdminHealthCheck
            | Self::Metrics
            | Self::SwaggerPage
            | Self::SwaggerFile
            | Self::SwaggerDocument => None,
            Self::JobTypes
            | Self::ListJobs
            | Self::GetJob
            | Self::IsActive
            | Self::Status
            | Self::CountJobs
            | Self::CountJobsByStatus
            | Self::Tasks
            | Self::Failures
            | Self::Dependencies => Some(AccessRole::Reader),
            Self::CreateJob => Some(AccessRole::Submitter),
            Self::DeleteJob
            | Self::DeleteJobs
            | Self::CancelJob
            | Self::CancelJobs
            | Self::PauseJob
            | Self::ResumeJob
            | Self::RedispatchJob
            | Self::SuspendPartition
            | Self::ResumePartition => Some(AccessRole::Operator),
            // It names partitions that its caller may have no business with.
            Self::SuspendedPartitions => Some(AccessRole::Admin),
        }
    }

    /// Whether it would change something, so that the audit log has it.
    pub(crate) const fn is_change(self) -> bool {
        matches!(self.role(), Some(AccessRole::Submitter | AccessRole::Operator))
    }

    /// Whether it tells more than the public may know, although nobody has to say who they are.
    pub(crate) const fn is_for_admins(self) -> bool {
        matches!(self, Self::AdminPing | Self::AdminHealthCheck | Self::Metrics)
    }

    /// Whether the proof in a status URL is enough to ask for it.
    pub(crate) const fn answers_status_urls(self) -> bool {
        matches!(self, Self::IsActive | Self::Status)
    }

    /// Whether this operation must answer however busy the process is.
    pub(crate) const fn is_vital(self) -> bool {
        matches!(
            self,
            Self::HealthCheck | Self::Ping | Self::AdminPing | Self::AdminHealthCheck | Self::Metrics
        )
    }

    /// Its `operationId` in the OpenAPI document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::OpenApi => "openApi",
            Self::HealthCheck => "healthCheck",
            Self::Ping => "ping",
            Self::JobTypes => "getJobTypes",
            Self::ListJobs => "getJobs",
            Self::GetJob => "getJob",
            Self::CreateJob => "createOrUpdateJob",
            Self::DeleteJob => "deleteJob",
            Self::DeleteJobs => "deleteJobs",
            Self::IsActive => "getJobActive",
            Self::Status => "getJobStatus",
            Self::CancelJob => "cancelJob",
            Self::CancelJobs => "cancelJobs",
            Self::PauseJob => "pauseJob",
            Self::ResumeJob => "resumeJob",
            Self::RedispatchJob => "redispatchJob",
            Self::CountJobs => "getJobsCount",
            Self::CountJobsByStatus => "getJobsCountByStatus",
            Self::Tasks => "getJobTasks",
            Self::Failures => "getJobFailures",
            Self::Dependencies => "getJobDependencies",
            Self::SuspendedPartitions => "getSuspendedPartitions",
            Self::SuspendPartition => "suspendPartition",
            Self::ResumePartition => "resumePartition",
            Self::SwaggerPage => "swaggerPage",
            Self::SwaggerFile => "swaggerFile",
            Self::SwaggerDocument => "swaggerDocument",
            Self::AdminPing => "adminPing",
            Self::AdminHealthCheck => "adminHealthCheck",
            Self::Metrics => "metrics",
        }
    }

    /// Whether it works on all selected jobs.
    pub(crate) const fn is_bulk(self) -> bool {
        matches!(self, Self::DeleteJobs | Self::CancelJobs)
    }

    /// Whether it reads a body; of the others a body is ignored.
    pub(crate) const fn takes_body(self) -> bool {
        matches!(self, Self::CreateJob)
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) endpoint: Endpoint,
}

macro_rules! routes {
    ($($method:ident $path:expr => $endpoint:ident,)*) => {
        &[$(Route { method: Method::$method, path: $path, endpoint: Endpoint::$endpoint }),*]
    };
}

macro_rules! jobs {
    ($rest:literal) => {
        concat!("/job-service/v1/partitions/{partitionId}", $rest)
    };
}

/// What the API's address serves.
pub(crate) static API: &[Route] = routes! {
    GET "/" => Root,
    GET "/openapi.yaml" => OpenApi,
    GET "/job-service-ui" => SwaggerPage,
    GET "/job-service-ui/{file}" => SwaggerFile,
    GET "/job-service-ui/api-docs/swagger.yaml" => SwaggerDocument,
    GET "/health-check" => HealthCheck,
    GET "/job-service/v1/ping" => Ping,
    GET "/job-service/v1/jobTypes" => JobTypes,
    GET jobs!("/jobs") => ListJobs,
    GET jobs!("/jobs/{jobId}") => GetJob,
    PUT jobs!("/jobs/{jobId}") => CreateJob,
    DELETE jobs!("/jobs/{jobId}") => DeleteJob,
    POST jobs!("/jobs:delete") => DeleteJobs,
    GET jobs!("/jobs/{jobId}/isActive") => IsActive,
    GET jobs!("/jobs/{jobId}/status") => Status,
    POST jobs!("/jobs/{jobId}/cancel") => CancelJob,
    POST jobs!("/jobs:cancel") => CancelJobs,
    POST jobs!("/jobs/{jobId}/pause") => PauseJob,
    POST jobs!("/jobs/{jobId}/resume") => ResumeJob,
    POST jobs!("/jobs/{jobId}/redispatch") => RedispatchJob,
    GET jobs!("/jobStats/count") => CountJobs,
    GET jobs!("/jobStats") => CountJobsByStatus,
    GET jobs!("/jobs/{jobId}/tasks") => Tasks,
    GET jobs!("/jobs/{jobId}/failures") => Failures,
    GET jobs!("/jobs/{jobId}/dependencies") => Dependencies,
    GET "/job-service/v1/suspendedPartitions" => SuspendedPartitions,
    POST jobs!("/suspend") => SuspendPartition,
    POST jobs!("/resume") => ResumePartition,
};

/// What the admin address serves.
pub(crate) static ADMIN: &[Route] = routes! {
    GET "/ping" => AdminPing,
    GET "/healthcheck" => AdminHealthCheck,
    GET "/metrics" => Metrics,
};

/// The decoded variable parts of a path; empty where it has none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PathParameters {
    pub(crate) partition: String,
    pub(crate) job: String,
    pub(crate) file: String,
}

/// Finds operations.
#[derive(Debug)]
pub(crate) struct Router {
    paths: matchit::Router<Vec<&'static Route>>,
}

impl Router {
    pub(crate) fn new(routes: &'static [Route]) -> Self {
        let mut paths = matchit::Router::new();
        let mut seen: Vec<&str> = Vec::new();
        for path in routes.iter().map(|route| route.path) {
            if seen.contains(&path) {
                continue;
            }
            seen.push(path);
            let here: Vec<&Route> = routes.iter().filter(|route| route.path == path).collect();
            // Some clients encode the colon of `jobs:cancel`, as they may.
            for colon in [":", "%3A", "%3a"] {
                let spelling = path.replace(':', colon);
                if spelling != path || colon == ":" {
                    paths.insert(spelling, here.clone()).expect("the table has no conflicting paths");
                }
            }
        }
        Self { paths }
    }

    /// The operation of `method` at `path`; HEAD is GET without the body.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Ok(found) = self.paths.at(without_slash(path)) else { return Found::nothing(no_such_path()) };
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let Some(route) = found.value.iter().find(|route| route.method == *wanted) else {
            return Found::nothing(ApiError::method_not_allowed(&allowed(found.value)));
        };
        let parameter = |name| found.params.get(name).map_or(Ok(String::new()), decode);
        let parameters = || {
            Ok(PathParameters {
                partition: parameter("partitionId")?,
                job: parameter("jobId")?,
                file: parameter("file")?,
            })
        };
        Found { endpoint: Some(route.endpoint), call: parameters().map(|found| (route.endpoint, found)) }
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Found {
    /// None when there is no such operation.
    pub(crate) endpoint: Option<Endpoint>,
    /// The operation with the parts of its path, unless something is wrong with either.
    pub(crate) call: Result<(Endpoint, PathParameters), ApiError>,
}

impl Found {
    fn nothing(error: ApiError) -> Self {
        Self { endpoint: None, call: Err(error) }
    }
}

fn without_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    }
}

fn allowed(routes: &[&Route]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.join(", ")
}

fn no_such_path() -> ApiError {
    ApiError::new(
        hyper::StatusCode::NOT_FOUND,
        "there is nothing at this path: the API begins at /job-service/v1/, and /openapi.yaml describes it",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn find(method: &Method, path: &str) -> Result<(Endpoint, PathParameters), ApiError> {
        Router::new(API).find(method, path).call
    }

    #[test]
    fn segments_are_decoded_after_the_path_was_split() {
        let (endpoint, parameters) =
            find(&Method::GET, "/job-service/v1/partitions/a%20b/jobs/x%2Fy%7B1%7D/status").unwrap();
        assert_eq!(endpoint, Endpoint::Status);
        assert_eq!(
            parameters,
            PathParameters { partition: "a b".into(), job: "x/y{1}".into(), file: String::new() }
        );
    }

    #[test]
    fn colons_may_be_encoded_and_slashes_may_trail() {
        for path in ["jobs:cancel", "jobs%3Acancel", "jobs%3acancel", "jobs:cancel/"] {
            let path = format!("/job-service/v1/partitions/p/{path}");
            assert_eq!(find(&Method::POST, &path).unwrap().0, Endpoint::CancelJobs, "{path}");
        }
    }

    #[test]
    fn wrong_methods_name_the_right_ones() {
        let error = find(&Method::POST, "/job-service/v1/partitions/p/jobs/j").unwrap_err();
        assert_eq!(error.status(), 405);
        let answer = error.into_answer();
        assert_eq!(answer.headers()["allow"], "GET, PUT, DELETE, HEAD");
        assert_eq!(find(&Method::HEAD, "/job-service/v1/ping").unwrap().0, Endpoint::Ping);
        assert_eq!(find(&Method::GET, "/nowhere").unwrap_err().status(), 404);
        assert_eq!(find(&Method::GET, "/job-service/v1/partitions/%zz/jobs").unwrap_err().status(), 400);
    }

    #[test]
    fn the_table_and_the_document_name_the_same_operations() {
        let document: serde_json::Value = serde_saphyr::from_str(include_str!("../openapi.yaml")).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let served: BTreeSet<(String, String)> =
            API.iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn the_table_and_the_document_name_the_same_roles() {
        let document: serde_json::Value = serde_saphyr::from_str(include_str!("../openapi.yaml")).unwrap();
        for route in API {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            let needed = route.endpoint.role().map_or("none", AccessRole::name);
            assert_eq!(operation["x-required-role"], needed, "{} {}", route.method, route.path);
            let is_read = [Method::GET, Method::HEAD].contains(&route.method);
            assert!(route.endpoint.is_change() || is_read, "{:?} changes something", route.endpoint);
        }
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere_and_every_operation_has_a_name() {
        fn visit(value: &serde_json::Value, root: &serde_json::Value) {
            match value {
                serde_json::Value::Object(members) => {
                    if let Some(target) = members.get("$ref").and_then(serde_json::Value::as_str) {
                        assert!(root.pointer(&target[1..]).is_some(), "{target}");
                    }
                    members.values().for_each(|member| visit(member, root));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| visit(item, root)),
                _ => {}
            }
        }
        let document: serde_json::Value = serde_saphyr::from_str(include_str!("../openapi.yaml")).unwrap();
        visit(&document, &document);
        let items = document["paths"].as_object().unwrap().values();
        let operations =
            items.flat_map(|item| item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters"));
        let names: Vec<&str> =
            operations.map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
        for route in API {
            let method = route.method.as_str().to_lowercase();
            assert_eq!(document["paths"][route.path][method]["operationId"], route.endpoint.name());
        }
    }
}
