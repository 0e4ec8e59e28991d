// The workbook of workbook.json, which is made of tabs.yaml and the queries.

@description('The Log Analytics workspace of Application Insights.')
param workspaceId string

@description('Region.')
param location string = resourceGroup().location

@description('Tags of everything.')
param tags object = {}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'berth')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'berth'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: loadTextContent('workbook.json')
  }
}

output workbookId string = workbook.id
